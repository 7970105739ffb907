"""Zoneout: units that keep their previous value for a step."""

import torch
from torch import Tensor

from unrolled.nn.cells import State
from unrolled.nn.unroll import Step


def zoned(step: Step, rates: tuple[float, ...], training: bool) -> Step:
    """`step` with zoneout: each unit of each state keeps its previous value with a probability of its own.

    In training every unit draws at every step; otherwise the state is the expectation, rate * old + (1 - rate) * new.
    The new output is computed from the new memory, before that one is zoned out.

    rates: one for each tensor of the state, (hidden,) or (hidden, cell), each from 0 to 1.

    Source: Krueger et al. (2017).
    """

    def mix(old: Tensor, new: Tensor, rate: float) -> Tensor:
        if rate == 0:
            return new
        if training:
            return torch.where(torch.rand_like(new) < rate, old, new)
        return torch.lerp(new, old, rate)

    def zoned_step(x: Tensor, state: State) -> State:
        new = step(x, state)
        return tuple(mix(s, s_new, rate) for s, s_new, rate in zip(state, new, rates, strict=True))

    return zoned_step
