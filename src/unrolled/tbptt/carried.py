"""What passes from a chunk to the next of the same document, and where gradients stop."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from unrolled.nn.pooling import Pooled
from unrolled.nn.protocol import State


@dataclass(frozen=True)
class CarriedState:
    """The carry of B rows read in one direction."""

    state: State  # recurrent state and shared dropout masks, batch on dimension 1
    pooled: Pooled  # the pooling's statistics so far, batch on dimension 0

    def first(self, rows: int) -> Self:
        """The carry of the first ``rows`` rows: the others have ended."""
        return type(self)(tuple(s[:, :rows] for s in self.state), tuple(p[:rows] for p in self.pooled))

    def rest(self, rows: int) -> Self:
        """The carry of the rows after the first ``rows``."""
        return type(self)(tuple(s[:, rows:] for s in self.state), tuple(p[rows:] for p in self.pooled))

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """The rows of all ``parts``, one after another."""
        states = zip(*(part.state for part in parts), strict=True)
        pools = zip(*(part.pooled for part in parts), strict=True)
        return cls(tuple(torch.cat(same, dim=1) for same in states), tuple(torch.cat(same) for same in pools))

    def detach(self) -> Self:
        """The same values, through which no gradient flows."""
        return type(self)(tuple(s.detach() for s in self.state), tuple(p.detach() for p in self.pooled))

    def renew(self, starts: Tensor, fresh: Self) -> Self:
        """Rows that start a document, ``starts`` (B,) bool, take theirs from ``fresh``; the others go on."""
        return type(self)(
            tuple(
                torch.where(_along(starts, old, 1), new, old) for new, old in zip(fresh.state, self.state, strict=True)
            ),
            tuple(
                torch.where(_along(starts, old, 0), new, old)
                for new, old in zip(fresh.pooled, self.pooled, strict=True)
            ),
        )


def _along(rows: Tensor, like: Tensor, dim: int) -> Tensor:
    shape = [1] * like.dim()
    shape[dim] = len(rows)
    return rows.view(shape)
