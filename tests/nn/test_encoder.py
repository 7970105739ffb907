"""The encoder against torch.nn's own stacks and directions, and chunk by chunk against whole."""

from collections.abc import Callable

import pytest
import torch
from tests.nn import build
from torch import nn

from unrolled.nn.encoder import Encoder

E, H, P, B, T = 3, 5, 2, 4, 7
KINDS: dict[str, tuple[Callable[..., Encoder], type[nn.RNNBase], dict[str, int]]] = {
    "rnn": (build.rnn, nn.RNN, {}),
    "lstm": (build.lstm, nn.LSTM, {}),
    "lstmp": (build.lstm, nn.LSTM, {"proj_size": P}),
    "gru": (build.gru, nn.GRU, {}),
}
every_kind = pytest.mark.parametrize("kind", KINDS)
both = pytest.mark.parametrize("implementation", build.IMPLEMENTATIONS)


def pair(kind: str, implementation: str, layers: int, bidirectional: bool) -> tuple[Encoder, nn.RNNBase]:
    """An encoder and torch.nn's module with the same weights, in float64."""
    make, theirs, extras = KINDS[kind]
    torch.manual_seed(0)
    encoder = make(E, H, num_layers=layers, bidirectional=bidirectional, implementation=implementation, **extras)
    module = theirs(E, H, num_layers=layers, bidirectional=bidirectional, **extras)
    state = module.state_dict()
    for number, layer in enumerate(encoder.layers):
        for recurrence, direction in zip(layer.recurrences, ("", "_reverse"), strict=False):
            for name, weight in recurrence.named_parameters():
                state[name.rsplit(".", 1)[-1].removesuffix("_l0") + f"_l{number}{direction}"] = weight.detach()
    module.load_state_dict(state)
    return encoder.double(), module.double()


@every_kind
@both
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_whole_documents_are_read_as_torch_reads_them(
    kind: str, implementation: str, layers: int, bidirectional: bool
) -> None:
    encoder, module = pair(kind, implementation, layers, bidirectional)
    x = torch.randn(T, B, E, dtype=torch.float64)
    outputs, _ = encoder(x, encoder.initial_state(B))
    assert encoder.output_size == outputs.shape[-1]
    torch.testing.assert_close(outputs, module(x)[0], rtol=0, atol=1e-12)


@every_kind
@both
@pytest.mark.parametrize("chunk_len", [1, 2, 3, 5, 7])
def test_reading_in_chunks_equals_reading_whole(kind: str, implementation: str, chunk_len: int) -> None:
    encoder, module = pair(kind, implementation, 2, False)
    x = torch.randn(T, B, E, dtype=torch.float64)
    state, outputs = encoder.initial_state(B), []
    for chunk in x.split(chunk_len):
        y, state = encoder(chunk, state)
        outputs.append(y)
    expected, _ = module(x)
    torch.testing.assert_close(torch.cat(outputs), expected, rtol=0, atol=1e-12)


@every_kind
@both
def test_the_carried_state_matters(kind: str, implementation: str) -> None:
    encoder, _ = pair(kind, implementation, 2, False)
    first, second = torch.randn(2, 3, B, E, dtype=torch.float64)
    _, state = encoder(first, encoder.initial_state(B))
    with_state, _ = encoder(second, state)
    without, _ = encoder(second, encoder.initial_state(B))
    assert ((with_state - without).abs().amax(dim=(0, 2)) > 1e-3).all(), "no row may ignore its state"


@both
def test_the_second_direction_of_one_chunk_starts_afresh(implementation: str) -> None:
    """Latency-controlled: it knows the chunk only, whatever was read before."""
    encoder, _ = pair("lstm", implementation, 1, True)
    first, second = torch.randn(2, 3, B, E, dtype=torch.float64)
    _, state = encoder(first, encoder.initial_state(B))
    carried, _ = encoder(second, state)
    alone, _ = encoder(second, encoder.initial_state(B))
    torch.testing.assert_close(carried[..., H:], alone[..., H:], rtol=0, atol=0)
    assert not torch.allclose(carried[..., :H], alone[..., :H])


def test_dropout_between_layers_acts_in_training_only() -> None:
    torch.manual_seed(0)
    encoder = build.gru(E, H, num_layers=2, bidirectional=True, dropout=0.5)
    x, state = torch.randn(T, B, E), encoder.initial_state(B)
    assert not torch.equal(encoder(x, state)[0], encoder(x, state)[0])
    encoder.eval()
    torch.testing.assert_close(encoder(x, state)[0], encoder(x, state)[0])


def test_new_weight_masks_reach_the_recurrent_weights_of_both_directions() -> None:
    torch.manual_seed(0)
    encoder = build.lstm(E, H, bidirectional=True, weight_dropout=0.5)
    x, state = torch.randn(T, B, E), encoder.initial_state(B)
    encoder.draw_weight_masks()
    before = encoder(x, state)[0]
    assert torch.equal(before, encoder(x, state)[0]), "all chunks of a batch share the dropped weights"
    encoder.draw_weight_masks()
    after = encoder(x, state)[0]
    assert not torch.allclose(before[..., :H], after[..., :H])
    assert not torch.allclose(before[..., H:], after[..., H:])


@pytest.mark.parametrize(
    "rates", [{"input_dropout": 0.4}, {"layer_dropout": 0.3}, {"input_dropout": 0.4, "layer_dropout": 0.3}]
)
def test_masks_drawn_once_make_chunks_equal_one_pass(rates: dict[str, float]) -> None:
    torch.manual_seed(0)
    encoder = build.lstm(E, 30, num_layers=2, **rates)
    masks = encoder.draw_masks(B)
    assert [tuple(m.shape) for m in masks] == [
        (1, B, {"input_dropout": E, "layer_dropout": 30}[name]) for name in rates
    ]
    x = torch.randn(T, B, E)
    whole, _ = encoder(x, encoder.initial_state(B), masks)
    first, state = encoder(x[:4], encoder.initial_state(B), masks)
    second, _ = encoder(x[4:], state, masks)
    torch.testing.assert_close(torch.cat([first, second]), whole)
    assert not torch.allclose(encoder(x, encoder.initial_state(B), encoder.draw_masks(B))[0], whole)
    assert encoder.eval().draw_masks(B) == ()


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("implementation", ["handwritten", "official"])
def test_an_encoder_with_shortcuts_is_as_wide_as_it_says(bidirectional: bool, implementation: str) -> None:
    encoder = build.gru(E, H, num_layers=2, bidirectional=bidirectional, implementation=implementation, shortcut=True)
    outputs, _ = encoder(torch.randn(T, B, E), encoder.initial_state(B))
    assert outputs.shape == (T, B, encoder.output_size)
    directions = 2 if bidirectional else 1
    assert encoder.output_size == directions * (H + directions * (H + E))
