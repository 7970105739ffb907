"""The LSTM with a matrix per gate and the one with a single matrix, against torch.nn.LSTM."""

import pytest
import torch
from tests.nn.build import lstm, lstm_per_gate, lstm_single_matrix
from torch import Tensor, nn

from unrolled.nn import Recurrence
from unrolled.nn.cells import Cell, PerGateLSTMCell, SingleMatrixLSTMCell
from unrolled.nn.encoder import Encoder

T, B, E, H, P = 6, 3, 4, 5, 2
OPTIONS = [(True, 0), (False, 0), (True, P), (False, P)]
CELLS = pytest.mark.parametrize("cell", [PerGateLSTMCell, SingleMatrixLSTMCell])


def official(bias: bool, proj_size: int, dtype: torch.dtype = torch.float64, **how: int) -> nn.LSTM:
    return nn.LSTM(E, H, bias=bias, proj_size=proj_size, dtype=dtype, **how)


def with_weights_of(cell: type[Cell], theirs: nn.LSTM) -> Recurrence:
    ours = Recurrence(
        cell,
        E,
        H,
        theirs.num_layers,
        theirs.bias,
        bidirectional=theirs.bidirectional,
        dtype=theirs.weight_ih_l0.dtype,
        proj_size=theirs.proj_size,
    )
    ours.load_packed(theirs.state_dict())
    return ours


def inputs(proj_size: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    shapes = (T, B, E), (1, B, proj_size or H), (1, B, H)
    x, h, c = (torch.randn(shape, generator=generator, dtype=dtype).requires_grad_() for shape in shapes)
    return x, h, c


@CELLS
@pytest.mark.parametrize(("bias", "proj_size"), OPTIONS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-12)])
def test_outputs_and_states_equal_torch(
    cell: type[Cell], bias: bool, proj_size: int, dtype: torch.dtype, tolerance: float
) -> None:
    theirs = official(bias, proj_size, dtype)
    ours = with_weights_of(cell, theirs)
    x, h, c = inputs(proj_size, dtype)
    for hx in ((h, c), None):
        outputs, state = ours(x, hx)
        expected, expected_state = theirs(x, hx)
        torch.testing.assert_close(outputs, expected, rtol=0, atol=tolerance)
        torch.testing.assert_close(state, expected_state, rtol=0, atol=tolerance)


@CELLS
@pytest.mark.parametrize(("bias", "proj_size"), OPTIONS)
def test_gradients_equal_torch(cell: type[Cell], bias: bool, proj_size: int) -> None:
    """Of inputs, of states, and of every weight once it is packed as torch packs it."""
    theirs = official(bias, proj_size)
    ours = with_weights_of(cell, theirs)
    generator = torch.Generator().manual_seed(4)
    wanted = torch.randn(T, B, proj_size or H, generator=generator, dtype=torch.float64)
    of_inputs = []
    for module in (theirs, ours):
        hx = inputs(proj_size)
        outputs, (_, c) = module(hx[0], hx[1:])
        ((outputs * wanted).sum() + (c**2).sum()).backward()
        of_inputs.append([x.grad for x in hx])
    torch.testing.assert_close(of_inputs[1], of_inputs[0], rtol=0, atol=1e-12)

    with torch.no_grad():  # put each gradient in its weight's place and let the conversion stack them
        for parameter in ours.parameters():
            assert parameter.grad is not None
            parameter.copy_(parameter.grad)
    packed = ours.to_packed()
    for name, parameter in theirs.named_parameters():
        if cell is SingleMatrixLSTMCell and name == "bias_hh_l0":
            continue  # its one bias stands for both; bias_ih_l0 has it
        torch.testing.assert_close(packed[name], parameter.grad, rtol=0, atol=1e-12, msg=name)


@CELLS
@pytest.mark.parametrize("proj_size", [0, P])
def test_layers_and_directions_convert_there_and_back(cell: type[Cell], proj_size: int) -> None:
    theirs = official(True, proj_size, num_layers=2, bidirectional=True)
    ours = with_weights_of(cell, theirs)
    x = inputs(proj_size)[0]
    torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=1e-12)
    other = official(True, proj_size, num_layers=2, bidirectional=True)
    other.load_state_dict(ours.to_packed(), strict=True)
    torch.testing.assert_close(other(x), theirs(x), rtol=0, atol=1e-12)


@CELLS
@pytest.mark.parametrize("proj_size", [0, P])
def test_with_all_weights_one_half_and_inputs_of_one_it_gives_torchs_numbers(cell: type[Cell], proj_size: int) -> None:
    theirs = official(True, proj_size, torch.float32)
    nn.utils.vector_to_parameters(torch.full((sum(p.numel() for p in theirs.parameters()),), 0.5), theirs.parameters())
    ours = with_weights_of(cell, theirs)
    if cell is PerGateLSTMCell:
        assert all((parameter == 0.5).all() for parameter in ours.parameters())
    x = torch.ones(T, B, E)
    torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=1e-6)


def test_parameter_counts_are_those_of_torch_and_one_bias_less() -> None:
    def count(module: nn.Module) -> int:
        return sum(parameter.numel() for parameter in module.parameters())

    for bias, proj_size in OPTIONS:
        theirs = count(official(bias, proj_size))
        assert count(PerGateLSTMCell(E, H, bias, proj_size=proj_size)) == theirs
        assert count(SingleMatrixLSTMCell(E, H, bias, proj_size=proj_size)) == theirs - bias * 4 * H


@CELLS
def test_it_learns_which_symbol_came_first(cell: type[Cell]) -> None:
    torch.manual_seed(6)
    layer, head = Recurrence(cell, 3, 8), nn.Linear(8, 3)
    optimizer = torch.optim.Adam([*layer.parameters(), *head.parameters()], lr=0.05)
    losses = []
    for _ in range(250):
        symbols = torch.randint(3, (5, 16))
        outputs, _ = layer(nn.functional.one_hot(symbols, 3).float())
        loss = nn.functional.cross_entropy(head(outputs[-1]), symbols[0])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] > 1.0
    assert losses[-1] < 0.1


@CELLS
def test_wrong_sizes_are_refused(cell: type[Cell]) -> None:
    with pytest.raises(ValueError, match="proj_size=5: must be smaller than hidden_size=5"):
        cell(E, H, proj_size=H)
    with pytest.raises(ValueError, match="hidden_size must be at least 1, got 0"):
        Recurrence(cell, E, 0)


def test_without_a_recurrent_matrix_no_recurrent_weights_can_be_dropped() -> None:
    with pytest.raises(ValueError, match=r"weight_dropout=0.5 .* SingleMatrixLSTMCell"):
        Recurrence(SingleMatrixLSTMCell, E, H, weight_dropout=0.5)


@CELLS
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("proj_size", [0, P])
def test_the_encoder_that_model_selects_is_the_official_one_with_its_weights(
    cell: type[Cell], bidirectional: bool, proj_size: int
) -> None:
    torch.manual_seed(7)
    make = {PerGateLSTMCell: lstm_per_gate, SingleMatrixLSTMCell: lstm_single_matrix}[cell]
    how = {"num_layers": 2, "bidirectional": bidirectional, "proj_size": proj_size}
    ours: Encoder = make(E, H, **how)
    theirs: Encoder = lstm(E, H, implementation="official", **how)
    for layer, whole in zip(ours.layers, theirs.layers, strict=True):
        for one, other in zip(layer.recurrences, whole.recurrences, strict=True):
            one.load_packed(other.module.state_dict())
    x = torch.randn(T, B, E)
    found = ours(x, ours.initial_state(B))
    expected = theirs(x, theirs.initial_state(B))
    assert found[0].shape == (T, B, ours.output_size)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("make", [lstm_per_gate, lstm_single_matrix])
def test_these_layouts_have_no_official_implementation(make) -> None:
    with pytest.raises(ValueError, match="implementation=official"):
        make(E, H, implementation="official")
