"""Dropout that draws one random byte per element instead of one random number."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from unrolled.nn.engines.passes import passes, threads


def dropout(x: Tensor, rate: float, training: bool) -> Tensor:
    """In training a share of the elements zeroed, the others scaled up so that the expectation stays.

    On a CPU the share is the multiple of 1/256 next to ``rate``, and elements that stay are divided by one minus that
    share: the random numbers of torch's own dropout took a tenth of a training step. Elsewhere it is torch's.

    Source: Srivastava et al. (2014).
    """
    of_256 = round(256 * rate)
    if not training or rate == 0:
        return x
    if x.device.type != "cpu" or not 0 < of_256 < 256:
        return F.dropout(x, rate)
    dropped: Tensor = _Dropout.apply(x, of_256)
    return dropped


class _Dropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, of_256: int) -> Tensor:
        count = x.numel()
        eights = torch.empty(-(-count // 8), dtype=torch.int64).random_(-(2**63), None)  # all 64 bits are random
        random = eights.view(torch.uint8)[:count].view(x.shape)
        ctx.save_for_backward(random)
        ctx.of_256 = of_256
        return _drop(x, random, of_256)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (random,) = ctx.saved_tensors
        return _drop(gradient, random, ctx.of_256), None


def _drop(x: Tensor, random: Tensor, of_256: int) -> Tensor:
    """``x`` where a random byte of its own is at least ``of_256``, scaled up."""
    scale = 256 / (256 - of_256)
    native = passes(x)
    if native is None:
        return (x * (random >= of_256)).mul_(scale)
    kept = torch.empty_like(x)
    native.drop(x, random, kept, x.numel(), of_256, scale, threads(x.numel()))
    return kept
