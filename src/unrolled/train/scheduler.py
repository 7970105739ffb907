"""Learning-rate schedules with warm-up."""

import math
from collections.abc import Callable

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


def constant(optimizer: Optimizer, total_steps: int, warmup: float = 0.0) -> LambdaLR:
    """The full rate after ``warmup``, a share of ``total_steps`` optimizer steps."""
    return _with_warmup(optimizer, total_steps, warmup, lambda share: 1.0)


def linear(optimizer: Optimizer, total_steps: int, warmup: float = 0.05) -> LambdaLR:
    """Down to zero in a line (the slanted triangle of Howard & Ruder 2018)."""
    return _with_warmup(optimizer, total_steps, warmup, lambda share: 1.0 - share)


def cosine(optimizer: Optimizer, total_steps: int, warmup: float = 0.05) -> LambdaLR:
    """Down to zero along half a cosine (Loshchilov & Hutter 2017)."""
    return _with_warmup(optimizer, total_steps, warmup, lambda share: (1.0 + math.cos(math.pi * share)) / 2)


def _with_warmup(optimizer: Optimizer, total_steps: int, warmup: float, after: Callable[[float], float]) -> LambdaLR:
    rise = max(round(warmup * total_steps), 1)

    def factor(step: int) -> float:
        if step + 1 < rise:
            return (step + 1) / rise
        return after(min((step + 1 - rise) / max(total_steps - rise, 1), 1.0))

    return LambdaLR(optimizer, factor)
