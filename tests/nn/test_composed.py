"""Deep and bidirectional networks put together from parts, against torch.nn's switches for them."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import unrolled
from unrolled.nn.composed import Bidirectional, Deep, load_torch, read_rows, to_torch
from unrolled.nn.memoryless import Memoryless
from unrolled.nn.per_gate import PerGateLSTM
from unrolled.nn.protocol import Reads, State

T, B, E, H, P = 6, 4, 3, 5, 2
LENGTHS = torch.tensor([3, 6, 1, 3])  # unsorted, two alike, one full, one of a single step

Make = Callable[[int], nn.Module]
KINDS: dict[str, tuple[Make, type[nn.RNNBase], dict[str, Any]]] = {
    "torch_rnn": (lambda size: nn.RNN(size, H).double(), nn.RNN, {}),
    "torch_gru": (lambda size: nn.GRU(size, H).double(), nn.GRU, {}),
    "torch_lstm": (lambda size: nn.LSTM(size, H).double(), nn.LSTM, {}),
    "torch_lstmp": (lambda size: nn.LSTM(size, H, proj_size=P).double(), nn.LSTM, {"proj_size": P}),
    "rnn": (lambda size: unrolled.RNN(size, H, nonlinearity="relu").double(), nn.RNN, {"nonlinearity": "relu"}),
    "gru": (lambda size: unrolled.GRU(size, H).double(), nn.GRU, {}),
    "lstm": (lambda size: unrolled.LSTM(size, H).double(), nn.LSTM, {}),
    "lstmp": (lambda size: unrolled.LSTM(size, H, proj_size=P).double(), nn.LSTM, {"proj_size": P}),
    "per_gate": (lambda size: PerGateLSTM(size, H).double(), nn.LSTM, {}),
    "per_gate_lstmp": (lambda size: PerGateLSTM(size, H, proj_size=P).double(), nn.LSTM, {"proj_size": P}),
}


def compose(kind: str, layers: int, bidirectional: bool, dropout: float = 0.0) -> tuple[Deep, nn.RNNBase]:
    """A network of parts and the official one with the same weights."""
    make, official, options = KINDS[kind]
    width = (options.get("proj_size") or H) * (2 if bidirectional else 1)
    torch.manual_seed(1)
    stacked = []
    for k in range(layers):
        size = width if k else E
        stacked.append(Bidirectional(make(size), make(size)) if bidirectional else make(size))
    whole = official(E, H, num_layers=layers, bidirectional=bidirectional, dropout=dropout, **options).double()  # type: ignore[arg-type]
    network = Deep(stacked, dropout)
    load_torch(network, whole.state_dict())
    return network, whole


def first_state(whole: nn.RNNBase, network: Deep) -> State:
    generator = torch.Generator().manual_seed(2)
    return tuple(torch.randn(s.shape, generator=generator, dtype=s.dtype) for s in network.initial_state(B))


def run_torch(whole: nn.RNNBase, x: Any, state: State) -> tuple[Any, State]:
    outputs, last = whole(x, state if whole.mode == "LSTM" else state[0])
    return outputs, last if isinstance(last, tuple) else (last,)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("layers", "bidirectional"), [(1, True), (3, False), (2, True)])
def test_parts_equal_torchs_module_on_dense_batches(kind: str, layers: int, bidirectional: bool) -> None:
    network, whole = compose(kind, layers, bidirectional)
    x, state = torch.randn(T, B, E, dtype=torch.float64), first_state(whole, network)
    torch.testing.assert_close(network(x, state), run_torch(whole, x, state), rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("layers", "bidirectional"), [(1, True), (3, False), (2, True)])
def test_parts_equal_torchs_module_on_packed_documents_of_unequal_length(
    kind: str, layers: int, bidirectional: bool
) -> None:
    """Outputs, final states of h and c, gradients of the inputs; padding is filled with what must not be read."""
    network, whole = compose(kind, layers, bidirectional)
    state = first_state(whole, network)
    x = torch.randn(T, B, E, dtype=torch.float64)
    past = torch.arange(T).unsqueeze(1) >= LENGTHS
    x[past] = 1e3
    x.requires_grad_()

    packed, expected_state = run_torch(whole, pack_padded_sequence(x, LENGTHS, enforce_sorted=False), state)
    expected, _ = pad_packed_sequence(packed, total_length=T)
    (expected_gradient,) = torch.autograd.grad((expected**2).sum(), x)
    outputs, last = network(x, state, LENGTHS)
    (gradient,) = torch.autograd.grad((outputs**2).sum(), x)

    torch.testing.assert_close(outputs, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(last, expected_state, rtol=0, atol=1e-12)
    torch.testing.assert_close(gradient, expected_gradient, rtol=0, atol=1e-12)
    assert not outputs[past].any()
    assert not gradient[past].any()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("layers", "bidirectional"), [(2, False), (2, True)])
def test_weights_go_to_torchs_names_and_back(kind: str, layers: int, bidirectional: bool) -> None:
    network, whole = compose(kind, layers, bidirectional)
    there = to_torch(network)
    assert set(there) == set(whole.state_dict())
    for name, weight in whole.state_dict().items():
        assert torch.equal(there[name], weight), name
    whole.load_state_dict(there, strict=True)


def test_dropout_between_layers_drops_what_torch_drops_with_the_same_seed() -> None:
    network, whole = compose("torch_lstm", 3, False, dropout=0.4)
    x, state = torch.randn(T, B, E, dtype=torch.float64), first_state(whole, network)
    network.train()
    whole.train()
    torch.manual_seed(3)
    expected = run_torch(whole, x, state)
    torch.manual_seed(3)
    dropped = network(x, state)
    torch.testing.assert_close(dropped, expected, rtol=0, atol=1e-12)
    assert not torch.allclose(dropped[0], network(x, state)[0])
    network.eval()
    torch.testing.assert_close(network(x, state), run_torch(whole.eval(), x, state), rtol=0, atol=1e-12)


def test_with_all_dropped_only_the_last_layers_outputs_remain() -> None:
    """Dropout of 1 between the layers silences the lower ones and leaves the top one's outputs alone."""
    network, _ = compose("torch_gru", 2, False, dropout=1.0)
    top = network.each()[1]
    x = torch.randn(T, B, E, dtype=torch.float64)
    outputs, _ = network(x)
    silence = torch.zeros(T, B, H, dtype=torch.float64)
    torch.testing.assert_close(outputs, top.read(silence, top.initial_state(B))[0])
    assert outputs.any()


@pytest.mark.parametrize("kind", ["torch_lstmp", "per_gate", "gru"])
def test_a_deep_network_read_in_chunks_equals_one_pass(kind: str) -> None:
    network, _ = compose(kind, 2, False)
    assert isinstance(network, Reads)
    x = torch.randn(T, B, E, dtype=torch.float64)
    whole = network(x)
    first, state = network.read(x[:4], network.initial_state(B), network.draw_masks(B))
    second, state = network.read(x[4:], state)
    torch.testing.assert_close((torch.cat([first, second]), state), whole, rtol=0, atol=1e-12)


def test_the_second_direction_reads_each_document_from_its_own_end() -> None:
    """At a document's last token the backward outputs depend on that token alone."""
    network = Bidirectional(nn.GRU(E, H), nn.GRU(E, H))
    x = torch.randn(T, B, E)
    outputs, _ = network(x, lengths=LENGTHS)
    row, length = 0, int(LENGTHS[0])
    other = x.clone()
    other[: length - 1, row] += 1
    changed, _ = network(other, lengths=LENGTHS)
    assert torch.equal(changed[length - 1, row, H:], outputs[length - 1, row, H:])
    assert not torch.allclose(changed[length - 1, row, :H], outputs[length - 1, row, :H])


def test_rows_without_any_step_keep_their_state_and_have_zero_outputs() -> None:
    layer = PerGateLSTM(E, H)
    x, state = torch.randn(T, B, E), tuple(torch.randn(1, B, H) for _ in range(2))
    outputs, last = read_rows(layer, x, state, torch.tensor([0, 2, 0, 5]))
    for before, after in zip(state, last, strict=True):
        assert torch.equal(after[:, [0, 2]], before[:, [0, 2]])
        assert not torch.isclose(after[:, [1, 3]], before[:, [1, 3]]).any()
    assert not outputs[:, [0, 2]].any()
    none, _ = read_rows(layer, x, state, torch.zeros(B, dtype=torch.int64))
    assert none.shape == (T, B, H)
    assert not none.any()


def test_masks_shared_over_time_reach_the_layer_and_the_rows_they_were_drawn_for() -> None:
    """A row read in chunks with its masks handed back, and among fewer rows, drops what it dropped in one pass."""
    network = Deep([unrolled.GRU(E, H, input_dropout=0.5), unrolled.GRU(H, H, input_dropout=0.5)])
    network.train()
    x = torch.randn(T, B, E)
    masks = network.draw_masks(B)
    assert [mask.shape for mask in masks] == [(1, B, E), (1, B, H)]
    whole, last = network(x, masks=masks)
    first, state = network.read(x[:2], network.initial_state(B), masks)
    second, state = network.read(x[2:], state, masks)
    torch.testing.assert_close((torch.cat([first, second]), state), (whole, last))
    outputs, _ = network(x, lengths=LENGTHS, masks=masks)
    inside = torch.arange(T).unsqueeze(1) < LENGTHS
    torch.testing.assert_close(outputs[inside], whole[inside])
    assert not torch.allclose(network(x, masks=network.draw_masks(B))[0], whole)

    both = Bidirectional(unrolled.GRU(E, H, input_dropout=1.0), unrolled.GRU(E, H))
    with torch.no_grad():
        changed = both(x + 1, masks=both.draw_masks(B))[0] != both(x, masks=both.draw_masks(B))[0]
    assert not changed[..., :H].any()
    assert changed[..., H:].all()


def test_memoryless_layers_have_no_state_to_stack() -> None:
    network = Deep([Memoryless(E, H), Memoryless(H, P)])
    x = torch.randn(T, B, E)
    outputs, state = network(x, lengths=LENGTHS)
    assert state == ()
    assert outputs.shape == (T, B, P)
    assert torch.equal(outputs[:, 1], network.read(x, ())[0][:, 1])


def test_what_cannot_be_composed_is_refused() -> None:
    with pytest.raises(TypeError, match="got Linear"):
        Deep([nn.Linear(E, H)])
    with pytest.raises(ValueError, match="at least one layer"):
        Deep([])
    with pytest.raises(ValueError, match=r"between 0 and 1, got 1\.5"):
        Deep([nn.GRU(E, H)], dropout=1.5)
    for module in (nn.GRU, unrolled.GRU):
        with pytest.raises(ValueError, match="got bidirectional=True"):
            Deep([module(E, H, bidirectional=True)])
        with pytest.raises(ValueError, match="got batch_first=True"):
            Deep([module(E, H, batch_first=True)])
    with pytest.raises(ValueError, match="got 2 layers: compose them with Deep"):
        Bidirectional(nn.GRU(E, H, 2), nn.GRU(E, H, 2))
    with pytest.raises(ValueError, match="states of one shape"):
        Deep([nn.GRU(E, H), nn.GRU(H, H + 1)])
    x: Tensor = torch.randn(T, B, E)
    network = Bidirectional(nn.GRU(E, H), nn.GRU(E, H))
    with pytest.raises(ValueError, match="cannot hand its state to the next chunk"):
        network.read(x, network.initial_state(B))
