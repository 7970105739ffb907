"""The shortcut adds the inputs and changes nothing else."""

import pytest
import torch
from torch import nn

from unrolled import LSTM
from unrolled.nn import build
from unrolled.nn.shortcut import Shortcut

K, B, E, H = 4, 3, 5, 6


def test_outputs_are_the_recurrences_and_then_the_inputs() -> None:
    recurrence, x = LSTM(E, H), torch.randn(K, B, E)
    state = recurrence.initial_state(B)
    plain, after = recurrence.read(x, state)
    outputs, same = Shortcut(recurrence).read(x, state)
    assert torch.equal(outputs[..., :H], plain)
    assert torch.equal(outputs[..., H:], x)
    assert all(torch.equal(a, b) for a, b in zip(after, same, strict=True))


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("implementation", ["handwritten", "official"])
def test_an_encoder_with_shortcuts_is_as_wide_as_it_says(bidirectional: bool, implementation: str) -> None:
    encoder = build.gru(E, H, num_layers=2, bidirectional=bidirectional, implementation=implementation, shortcut=True)
    outputs, _ = encoder(torch.randn(K, B, E), encoder.initial_state(B))
    assert outputs.shape == (K, B, encoder.output_size)
    assert encoder.output_size == (2 * (H + 2 * (H + E)) if bidirectional else H + E)


def test_a_shortcut_has_no_parameters_of_its_own() -> None:
    def count(module: nn.Module) -> int:
        return sum(p.numel() for p in module.parameters())

    assert count(build.lstm(E, H, shortcut=True)) == count(nn.LSTM(E, H))
