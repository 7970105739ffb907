"""torch.nn's modules read chunk by chunk."""

import pytest
import torch
from torch import nn

from unrolled.nn.official import Official

E, H, P, B, T = 3, 5, 2, 4, 6
MODULES = {
    "rnn": lambda: nn.RNN(E, H),
    "lstm": lambda: nn.LSTM(E, H),
    "lstmp": lambda: nn.LSTM(E, H, proj_size=P),
    "gru": lambda: nn.GRU(E, H),
}
every_module = pytest.mark.parametrize("kind", MODULES)


@every_module
def test_chunks_with_the_state_handed_on_are_the_whole(kind: str) -> None:
    torch.manual_seed(0)
    module = MODULES[kind]().double()
    x = torch.randn(T, B, E, dtype=torch.float64)
    official = Official(module)
    state, outputs = official.initial_state(B), []
    for chunk in x.split(4):
        y, state = official.read(chunk, state)
        outputs.append(y)
    whole, last = module(x)
    torch.testing.assert_close(torch.cat(outputs), whole)
    for ours, theirs in zip(state, last if isinstance(last, tuple) else (last,), strict=True):
        torch.testing.assert_close(ours, theirs)


@every_module
def test_a_state_whose_rows_have_left_need_not_be_contiguous(kind: str) -> None:
    torch.manual_seed(0)
    official = Official(MODULES[kind]())
    x = torch.randn(T, B, E)
    _, state = official.read(x, official.initial_state(B))
    left = tuple(s[:, :3] for s in state)
    y, _ = official.read(x[:, :3], left)
    expected, _ = official.read(x, state)
    torch.testing.assert_close(y, expected[:, :3])


@every_module
@pytest.mark.parametrize("lower", [torch.bfloat16, torch.float16])
def test_under_autocast_on_a_cpu_nothing_is_lost(kind: str, lower: torch.dtype) -> None:
    """torch.nn keeps the cell state in the lower precision there, or raises, as the CPU has it."""
    torch.manual_seed(0)
    official = Official(MODULES[kind]())
    x = torch.randn(T, B, E)
    expected, _ = official.read(x, official.initial_state(B))
    with torch.autocast("cpu", lower):
        y, state = official.read(x.to(lower).float(), official.initial_state(B))
        from_lower, _ = official.read(x.to(lower), official.initial_state(B))
    assert all(s.dtype == torch.float32 for s in state)
    torch.testing.assert_close(from_lower, y)
    torch.testing.assert_close(y, expected, rtol=0.02, atol=0.02)


@pytest.mark.parametrize("options", [{"bidirectional": True}, {"batch_first": True}, {"num_layers": 2}])
def test_only_one_layer_and_direction_and_time_first(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="one direction"):
        Official(nn.LSTM(E, H, **options))
