"""The LSTM with a matrix per gate and the one with a single matrix, against torch.nn.LSTM."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from unrolled.nn.build import lstm, lstm_per_gate, lstm_single_matrix
from unrolled.nn.composed import Deep, load_torch
from unrolled.nn.encoder import Encoder
from unrolled.nn.one_layer_lstm import OneLayerLSTM
from unrolled.nn.per_gate import PerGateLSTM
from unrolled.nn.protocol import Reads
from unrolled.nn.single_matrix import SingleMatrixLSTM

T, B, E, H, P = 6, 3, 4, 5, 2
FORMS = [PerGateLSTM, SingleMatrixLSTM]
OPTIONS = [(True, 0), (False, 0), (True, P), (False, P)]


def official(bias: bool, proj_size: int, dtype: torch.dtype = torch.float64) -> nn.LSTM:
    return nn.LSTM(E, H, bias=bias, proj_size=proj_size, dtype=dtype)


def inputs(proj_size: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    shapes = (T, B, E), (1, B, proj_size or H), (1, B, H)
    x, h, c = (torch.randn(shape, generator=generator, dtype=dtype).requires_grad_() for shape in shapes)
    return x, h, c


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("bias", "proj_size"), OPTIONS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-12)])
def test_outputs_and_states_equal_torch(
    form: type[OneLayerLSTM], bias: bool, proj_size: int, dtype: torch.dtype, tolerance: float
) -> None:
    theirs = official(bias, proj_size, dtype)
    ours = form.from_packed(theirs.state_dict())
    x, h, c = inputs(proj_size, dtype)
    for hx in ((h, c), None):
        outputs, state = ours(x, hx)
        expected, expected_state = theirs(x, hx)
        torch.testing.assert_close(outputs, expected, rtol=0, atol=tolerance)
        torch.testing.assert_close(state, expected_state, rtol=0, atol=tolerance)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("bias", "proj_size"), OPTIONS)
def test_gradients_equal_torch(form: type[OneLayerLSTM], bias: bool, proj_size: int) -> None:
    """Of inputs, of states, and of every weight once it is packed as torch packs it."""
    theirs = official(bias, proj_size)
    ours = form.from_packed(theirs.state_dict())
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
        if form is SingleMatrixLSTM and name == "bias_hh_l0":
            continue  # its one bias stands for both; bias_ih_l0 has it
        torch.testing.assert_close(packed[name], parameter.grad, rtol=0, atol=1e-12, msg=name)


@pytest.mark.parametrize("form", FORMS)
def test_an_upper_layer_and_the_reverse_direction_convert_by_their_suffix(form: type[OneLayerLSTM]) -> None:
    whole = nn.LSTM(E, H, num_layers=2, bidirectional=True, dtype=torch.float64)
    ours = form.from_packed(whole.state_dict(), "_l1_reverse")
    assert ours.input_size == 2 * H
    x = torch.randn(T, B, 2 * H, dtype=torch.float64)
    single = nn.LSTM(2 * H, H, dtype=torch.float64)
    single.load_state_dict({f"{n}_l0": whole.get_parameter(f"{n}_l1_reverse") for n in names()}, strict=True)
    torch.testing.assert_close(ours(x), single(x), rtol=0, atol=1e-12)
    assert set(ours.to_packed("_l1_reverse")) == {f"{n}_l1_reverse" for n in names()}


def names() -> list[str]:
    return ["weight_ih", "weight_hh", "bias_ih", "bias_hh"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("proj_size", [0, P])
def test_with_all_weights_one_half_and_inputs_of_one_it_gives_torchs_numbers(
    form: type[OneLayerLSTM], proj_size: int
) -> None:
    theirs = official(True, proj_size, torch.float32)
    nn.utils.vector_to_parameters(torch.full((sum(p.numel() for p in theirs.parameters()),), 0.5), theirs.parameters())
    ours = form.from_packed(theirs.state_dict())
    if form is PerGateLSTM:
        assert all((parameter == 0.5).all() for parameter in ours.parameters())
    x = torch.ones(T, B, E)
    torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=1e-6)


def test_parameter_counts_are_those_of_torch_and_one_bias_less() -> None:
    def count(module: nn.Module) -> int:
        return sum(parameter.numel() for parameter in module.parameters())

    for bias, proj_size in OPTIONS:
        theirs = count(official(bias, proj_size))
        assert count(PerGateLSTM(E, H, bias, proj_size)) == theirs
        assert count(SingleMatrixLSTM(E, H, bias, proj_size)) == theirs - bias * 4 * H


@pytest.mark.parametrize("form", FORMS)
def test_chunks_with_carried_state_equal_one_pass(form: type[OneLayerLSTM]) -> None:
    layer = form(E, H, proj_size=P, dtype=torch.float64)
    assert isinstance(layer, Reads)
    x = inputs(P)[0]
    whole, last = layer.read(x, layer.initial_state(B))
    first, state = layer.read(x[:4], layer.initial_state(B))
    second, state = layer.read(x[4:], tuple(s.detach() for s in state), layer.draw_masks(B))
    torch.testing.assert_close((torch.cat([first, second]), state), (whole, last), rtol=0, atol=1e-12)
    assert not torch.allclose(layer.read(x[4:], layer.initial_state(B))[0], second), "carried state is ignored"
    (d_x,) = torch.autograd.grad(second.sum(), x)
    assert not d_x[:4].any()
    assert d_x[4:].abs().sum(-1).all()


@pytest.mark.parametrize("form", FORMS)
def test_it_learns_which_symbol_came_first(form: type[OneLayerLSTM]) -> None:
    torch.manual_seed(6)
    layer, head = form(3, 8), nn.Linear(8, 3)
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


@pytest.mark.parametrize("form", FORMS)
def test_wrong_sizes_are_refused(form: type[OneLayerLSTM]) -> None:
    with pytest.raises(ValueError, match="proj_size=5 with hidden_size=5"):
        form(E, H, proj_size=H)
    with pytest.raises(ValueError, match="hidden_size must be at least 1, got 0"):
        form(E, 0)


@pytest.mark.parametrize("build", [lstm_per_gate, lstm_single_matrix])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("proj_size", [0, P])
def test_the_encoder_that_model_selects_is_the_official_one_with_its_weights(
    build: Callable[..., Encoder], bidirectional: bool, proj_size: int
) -> None:
    torch.manual_seed(7)
    how: dict[str, Any] = {"num_layers": 2, "bidirectional": bidirectional, "proj_size": proj_size}
    ours, theirs = build(E, H, **how), lstm(E, H, implementation="official", **how)
    stacks = [module for module in ours.modules() if isinstance(module, Deep)]
    official_stacks = [module for module in theirs.modules() if isinstance(module, nn.LSTM)]
    for stack, whole in zip(stacks, official_stacks, strict=True):
        load_torch(stack, whole.state_dict())
    x, lengths = torch.randn(T, B, E), torch.tensor([4, T, 1])
    outputs, carry = ours(x, ours.initial_state(B), lengths)
    expected, expected_carry = theirs(x, theirs.initial_state(B), lengths)
    assert outputs.shape == (T, B, ours.output_size)
    torch.testing.assert_close((outputs, carry), (expected, expected_carry), rtol=0, atol=1e-6)


@pytest.mark.parametrize("build", [lstm_per_gate, lstm_single_matrix])
def test_these_layouts_have_no_official_implementation(build: Callable[..., Encoder]) -> None:
    with pytest.raises(ValueError, match="implementation=official"):
        build(E, H, implementation="official")
