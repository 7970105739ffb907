"""A layer adds to its recurrences what is dropped before them, a second direction and a shortcut, and nothing else."""

import pytest
import torch
from tests.nn import build
from torch import nn

from unrolled import LSTM, RNN
from unrolled.nn.layer import Layer

K, B, E, H = 4, 3, 5, 6


def unchanged(size: int) -> RNN:
    """An identity RNN that hands its input on, so that its output shows what was dropped."""
    net = RNN(size, size, nonlinearity="identity", bias=False)
    with torch.no_grad():
        net.weight_ih_l0.copy_(torch.eye(size))
        net.weight_hh_l0.zero_()
    return net


def test_with_a_shortcut_outputs_are_the_recurrences_and_then_the_inputs() -> None:
    recurrence, x = LSTM(E, H), torch.randn(K, B, E)
    state = recurrence.initial_state(B)
    plain, after = recurrence.read(x, state)
    outputs, same = Layer([recurrence], E, shortcut=True)(x, state)
    assert torch.equal(outputs[..., :H], plain)
    assert torch.equal(outputs[..., H:], x)
    assert all(torch.equal(a, b) for a, b in zip(after, same, strict=True))


def test_with_a_shortcut_each_direction_has_the_inputs_of_its_position_beside_it() -> None:
    layer, x = Layer([LSTM(E, H), LSTM(E, H)], E, shortcut=True), torch.randn(K, B, E)
    outputs, _ = layer(x, layer.initial_state(B))
    assert torch.equal(outputs[..., H : H + E], x)
    assert torch.equal(outputs[..., 2 * H + E :], x)


def test_a_shortcut_has_no_parameters_of_its_own() -> None:
    def count(module: nn.Module) -> int:
        return sum(p.numel() for p in module.parameters())

    assert count(build.lstm(E, H, shortcut=True)) == count(nn.LSTM(E, H))


def test_a_shared_mask_drops_the_same_features_of_a_document_at_every_step() -> None:
    size, rows = 200, 50
    layer, x = Layer([unchanged(size)], size, shared_dropout=0.3), torch.ones(K, rows, size)
    outputs, _ = layer(x, layer.initial_state(rows), layer.draw_mask(rows))
    assert torch.equal(outputs, outputs[:1].expand_as(outputs)), "shared over time"
    assert not torch.equal(outputs[0, 0], outputs[0, 1]), "drawn for each document"
    kept = outputs[0] != 0
    torch.testing.assert_close(outputs[0][kept], torch.full_like(outputs[0][kept], 1 / 0.7))
    assert abs(kept.float().mean().item() - 0.7) < 0.025  # five standard deviations of 10,000 draws
    assert not torch.equal(layer(x, layer.initial_state(rows), layer.draw_mask(rows))[0], outputs), "drawn anew"


def test_dropout_draws_at_every_step_and_in_training_only() -> None:
    layer, x = Layer([unchanged(50)], 50, dropout=0.5), torch.ones(K, B, 50)
    outputs, _ = layer(x, layer.initial_state(B))
    assert not torch.equal(outputs[0], outputs[1])
    assert torch.equal(layer.eval()(x, layer.initial_state(B))[0], x)


def test_two_directions_are_torchs() -> None:
    torch.manual_seed(0)
    forward, backward, theirs = LSTM(E, H), LSTM(E, H), nn.LSTM(E, H, bidirectional=True)
    weights = forward.state_dict() | {f"{name}_reverse": weight for name, weight in backward.state_dict().items()}
    theirs.load_state_dict(weights)
    layer, x = Layer([forward, backward], E), torch.randn(K, B, E)
    torch.testing.assert_close(layer(x, layer.initial_state(B))[0], theirs(x)[0])


@pytest.mark.parametrize("wrong", [nn.Linear(E, H), nn.LSTM(E, H)])
def test_what_cannot_be_read_in_chunks_is_refused(wrong: nn.Module) -> None:
    with pytest.raises(TypeError, match=f"{type(wrong).__name__} cannot be read chunk by chunk"):
        Layer([wrong], E)
