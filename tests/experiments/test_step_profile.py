"""The profile by part: whose a moment of training is, forward and backward."""

import json

import pytest
import torch
from tests.experiments.script import STUDIES, load
from torch import nn

profile = load("speed", "step_profile")


class Ticks:
    """A clock that tells what it is set to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_every_moment_is_somebodys() -> None:
    clock = Ticks()
    ledger = profile.Ledger(clock)
    for second, act in enumerate(
        [lambda: ledger.enter("outer"), lambda: ledger.enter("inner"), ledger.leave, ledger.leave, ledger.note], start=1
    ):
        clock.now = second * second
        act()
    assert ledger.spent == {
        (profile.LIGHTNING, "forward"): 1 + (25 - 16),
        ("outer", "forward"): (4 - 1) + (16 - 9),
        ("inner", "forward"): 9 - 4,
    }


def test_the_innermost_range_counts() -> None:
    changes = list(profile._innermost([(2, 4, "inner"), (5, 5, "empty"), (0, 9, "outer"), (12, 13, "later")]))

    def at(number: int) -> str | None:
        return [part for first, part in changes if first <= number][-1]

    assert [at(n) for n in range(14)] == [
        *["outer"] * 2,
        *["inner"] * 2,
        *["outer"] * 5,
        *[None] * 3,
        "later",
        None,
    ]


class Slow(torch.autograd.Function):
    """Twice the input; its backward takes three seconds on a clock that ticks."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: torch.Tensor, clock: Ticks) -> torch.Tensor:
        ctx.clock = clock
        return 2 * x

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        ctx.clock.now += 3.0
        return 2 * gradient, None


class Doubling(nn.Module):
    def __init__(self, clock: Ticks) -> None:
        super().__init__()
        self.clock = clock

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return Slow.apply(x, self.clock)


class Encoder(nn.Module):
    layers = ()


class Network(nn.Module):
    """As much of a network as the ledger looks at."""

    def __init__(self, clock: Ticks) -> None:
        super().__init__()
        self.encoder = Encoder()
        self.dropout = nn.Identity()
        self.head = Doubling(clock)


class Model(nn.Module):
    def __init__(self, clock: Ticks) -> None:
        super().__init__()
        self.network = Network(clock)


def test_backward_is_given_to_the_part_that_made_the_node() -> None:
    clock = Ticks()
    ledger = profile.Ledger(clock)
    model = Model(clock)
    parts = profile.Parts(model, ledger)
    x = torch.ones(2, requires_grad=True)
    loss = Slow.apply(model.network.head(x), clock).sum()
    parts.hook(loss)
    ledger.enter(profile.BACKWARD, "backward")
    loss.backward()
    ledger.leave()
    assert ledger.spent["head and loss", "backward"] == 3.0
    assert ledger.spent[profile.BACKWARD, "backward"] == 3.0
    assert ledger.spent["head and loss", "forward"] == 0.0


@pytest.mark.parametrize("file", sorted(path.name for path in (STUDIES / "speed").glob("profile_*.json")))
def test_the_tables_in_the_readme_are_those_of_the_raw_numbers(file: str) -> None:
    measured = json.loads((STUDIES / "speed" / file).read_text(encoding="utf-8"))
    readme = (STUDIES / "speed" / "README.md").read_text(encoding="utf-8")
    assert profile.table(measured).markdown() in readme
    assert profile.summary(measured) in readme
    assert measured["command"] in readme
