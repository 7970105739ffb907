"""Last, largest and summed output of a chunk in one pass, with a backward that writes the gradient once."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from unrolled.nn.engines.passes import passes, threads


def chunk_statistics(outputs: Tensor, lengths: Tensor, full: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """Of a chunk's outputs (K, B, D), of which each row's first ``lengths`` (B,) count (``full``: all do).

    Returns the last output, the largest value of each feature and the sum over time, (B, D) each, in float32 at least;
    for a row without outputs zeros, minus infinity and zeros. Where a value is reached twice, its first place gets the
    gradient, as with torch.max.
    """
    found: tuple[Tensor, Tensor, Tensor] = _Statistics.apply(outputs, lengths, full)
    return found


class _Statistics(torch.autograd.Function):
    """The gradient of a feature is that of its sum at every step that counts, with two steps' more added to it."""

    @staticmethod
    def forward(ctx: Any, outputs: Tensor, lengths: Tensor, full: bool) -> tuple[Tensor, Tensor, Tensor]:
        dtype = torch.promote_types(outputs.dtype, torch.float32)
        rows = torch.arange(outputs.shape[1], device=outputs.device)
        end = (lengths - 1).clamp(min=0)
        if full:
            last = outputs[-1].to(dtype, copy=True)
        else:
            last = outputs[end, rows].to(dtype).masked_fill_((lengths == 0).unsqueeze(1), 0.0)
        native = passes(outputs)
        if native is not None:
            largest, place = torch.empty_like(last), torch.empty_like(last, dtype=torch.int32)
            kept = None if full else torch.empty_like(outputs)
            ends = None if full else lengths.to(torch.int64).contiguous()
            native.largest(outputs, ends, *outputs.shape, largest, place, kept, threads(outputs.numel()))
            total = (outputs if kept is None else kept).sum(0)
        elif full:
            total = outputs.sum(0, dtype=dtype)
            largest, place = outputs.max(dim=0)
        else:
            past = (torch.arange(len(outputs), device=outputs.device).unsqueeze(1) >= lengths).unsqueeze(2)
            kept = outputs.masked_fill(past, 0.0)
            total = kept.sum(0, dtype=dtype)
            largest, place = kept.masked_fill_(past, -torch.inf).max(dim=0)
        ctx.save_for_backward(place, lengths)
        ctx.full, ctx.shape, ctx.dtype = full, outputs.shape, outputs.dtype
        return last, largest.to(dtype), total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by_last: Tensor, by_largest: Tensor, by_total: Tensor) -> tuple[Tensor, None, None]:
        place, lengths = ctx.saved_tensors
        place = place.long()  # the native pass writes int32
        if ctx.full:
            gradient = by_total.to(ctx.dtype).expand(ctx.shape).clone(memory_format=torch.contiguous_format)
            gradient[-1] += by_last
            return gradient.scatter_add_(0, place.unsqueeze(0), by_largest.to(ctx.dtype).unsqueeze(0)), None, None
        counts = torch.arange(ctx.shape[0], device=place.device).unsqueeze(1) < lengths
        gradient = by_total.to(ctx.dtype) * counts.unsqueeze(2)
        some = (lengths > 0).unsqueeze(1)
        rows = torch.arange(ctx.shape[1], device=place.device)
        gradient.index_put_(((lengths - 1).clamp(min=0), rows), (by_last * some).to(ctx.dtype), accumulate=True)
        by_largest = (by_largest * some).to(ctx.dtype)
        return gradient.scatter_add_(0, place.unsqueeze(0), by_largest.unsqueeze(0)), None, None
