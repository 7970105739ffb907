"""Pooling: one vector per document from all its outputs, gathered chunk by chunk.

Pooling is three functions over pooled statistics, a tuple of (B, ...) tensors in float32: what they are before the
first token, how one chunk changes them, and what they say in the end. An output past a row's end never enters.
"""

from abc import ABC, abstractmethod
from typing import cast

import torch
from torch import Tensor, nn

from unrolled.nn.chunk_statistics import chunk_statistics

Pooled = tuple[Tensor, ...]  # batch on dimension 0


class Pooling(nn.Module, ABC):
    """The interface: a document's outputs so far, as one vector of ``size`` numbers.

    width: D, features of the outputs.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    @property
    def size(self) -> int:
        """Numbers in the vector."""
        return self.width

    @abstractmethod
    def initial(self, rows: int, device: torch.device) -> Pooled:
        """Statistics of documents that have not been read."""

    @abstractmethod
    def update(self, pooled: Pooled, outputs: Tensor, lengths: Tensor, full: bool = False) -> Pooled:
        """Take in one chunk: outputs (K, B, D), of which each row's first ``lengths`` (B,) count; ``full``: all do."""

    @abstractmethod
    def value(self, pooled: Pooled) -> Tensor:
        """The vectors (B, size), finite for an empty document too."""


class Last(Pooling):
    """The output at each document's last token; zeros for an empty document."""

    def initial(self, rows: int, device: torch.device) -> Pooled:
        return (torch.zeros(rows, self.width, device=device),)

    def update(self, pooled: Pooled, outputs: Tensor, lengths: Tensor, full: bool = False) -> Pooled:
        if full:
            return (outputs[-1].to(sums(outputs)),)
        row = torch.arange(outputs.shape[1], device=outputs.device)
        last = outputs[(lengths - 1).clamp(min=0), row].to(sums(outputs))  # (B, D)
        return (torch.where((lengths > 0).unsqueeze(1), last, pooled[0]),)

    def value(self, pooled: Pooled) -> Tensor:
        return pooled[0]


class Mean(Pooling):
    """The mean output over the document's true length (ULMFiT's mean pooling; Howard & Ruder 2018)."""

    def initial(self, rows: int, device: torch.device) -> Pooled:
        return torch.zeros(rows, self.width, device=device), torch.zeros(rows, 1, device=device)

    def update(self, pooled: Pooled, outputs: Tensor, lengths: Tensor, full: bool = False) -> Pooled:
        total, count = pooled
        if not full:
            outputs = outputs.masked_fill(past(outputs, lengths), 0.0)
        return total + outputs.sum(0, dtype=sums(outputs)), count + lengths.unsqueeze(1)

    def value(self, pooled: Pooled) -> Tensor:
        total, count = pooled
        return total / count.clamp(min=1.0)


class Max(Pooling):
    """The largest value of each output over the document (ULMFiT's max pooling); zeros for an empty document.

    Where a value is reached twice, its first place gets the gradient, in one chunk or in many.
    """

    def initial(self, rows: int, device: torch.device) -> Pooled:
        return (torch.full((rows, self.width), -torch.inf, device=device),)

    def update(self, pooled: Pooled, outputs: Tensor, lengths: Tensor, full: bool = False) -> Pooled:
        if not full:
            outputs = outputs.masked_fill(past(outputs, lengths), -torch.inf)
        chunk = outputs.max(dim=0).values.to(sums(outputs))
        return (torch.where(chunk > pooled[0], chunk, pooled[0]),)

    def value(self, pooled: Pooled) -> Tensor:
        return torch.where(pooled[0].isneginf(), 0.0, pooled[0])


class Attention(Pooling):
    """A mean whose weights the network chooses (Yang et al. 2016): the outputs that say most count most.

    score e_t = q . tanh(W y_t + b), weight a_t = exp(e_t) / sum_s exp(e_s), value sum_t a_t y_t; zeros for an empty
    document. q begins as zero, so the first value is the mean. Chunk by chunk the sums are kept over exp(e_t - m) with
    m the largest score so far (Milakov & Gimelshein 2018), so that none overflows; m cancels and has no gradient.

    A second direction has weights of its own over its outputs, from the same W, b and q.
    """

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.score = nn.Linear(width, width)  # W, b
        self.query = nn.Parameter(torch.zeros(width))  # q

    def initial(self, rows: int, device: torch.device) -> Pooled:
        largest = torch.full((rows, 1), -torch.inf, device=device)
        return largest, torch.zeros(rows, 1, device=device), torch.zeros(rows, self.width, device=device)

    def update(self, pooled: Pooled, outputs: Tensor, lengths: Tensor, full: bool = False) -> Pooled:
        before, count, total = pooled
        scores = (self.score(outputs).tanh() @ self.query).to(sums(outputs)).unsqueeze(2)  # (K, B, 1)
        if not full:
            beyond = past(outputs, lengths)
            scores, outputs = scores.masked_fill(beyond, -torch.inf), outputs.masked_fill(beyond, 0.0)
        largest = torch.maximum(before, scores.detach().amax(0))
        finite = largest.masked_fill(largest.isneginf(), 0.0)  # a row that has not begun
        weights, kept = (scores - finite).exp(), (before - finite).exp()
        return largest, kept * count + weights.sum(0), kept * total + (weights * outputs).sum(0)

    def value(self, pooled: Pooled) -> Tensor:
        _, count, total = pooled
        return total / count.masked_fill(count == 0, 1.0)


class Concat(Pooling):
    """Last, max and mean side by side (ULMFiT's concat pooling; Howard & Ruder 2018)."""

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.parts = nn.ModuleList([Last(width), Max(width), Mean(width)])

    def _parts(self, pooled: Pooled) -> list[tuple[Pooling, Pooled]]:
        last, largest, mean = (cast(Pooling, part) for part in self.parts)
        return [(last, pooled[:1]), (largest, pooled[1:2]), (mean, pooled[2:])]

    @property
    def size(self) -> int:
        return 3 * self.width

    def initial(self, rows: int, device: torch.device) -> Pooled:
        return tuple(s for part in self.parts for s in cast(Pooling, part).initial(rows, device))

    def update(self, pooled: Pooled, outputs: Tensor, lengths: Tensor, full: bool = False) -> Pooled:
        if not outputs.requires_grad:
            return tuple(s for part, own in self._parts(pooled) for s in part.update(own, outputs, lengths, full))
        before, highest, sofar, count = pooled  # the same in one pass
        last, largest, total = chunk_statistics(outputs, lengths, full)
        if not full:
            last = torch.where((lengths > 0).unsqueeze(1), last, before)
        return last, torch.where(largest > highest, largest, highest), sofar + total, count + lengths.unsqueeze(1)

    def value(self, pooled: Pooled) -> Tensor:
        return torch.cat([part.value(own) for part, own in self._parts(pooled)], dim=1)


def sums(outputs: Tensor) -> torch.dtype:
    """What statistics are kept in: float32 at least, whatever the outputs have under autocast."""
    return torch.promote_types(outputs.dtype, torch.float32)


def past(outputs: Tensor, lengths: Tensor) -> Tensor:
    """(K, B, 1) bool: which outputs lie past their row's end."""
    time = torch.arange(outputs.shape[0], device=outputs.device).unsqueeze(1)
    return (time >= lengths).unsqueeze(2)
