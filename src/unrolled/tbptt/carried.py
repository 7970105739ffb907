"""The carried state: all that passes from one chunk to the next of the same documents."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from unrolled.nn.cells import State
from unrolled.nn.pooling import Pooled


@dataclass(frozen=True)
class CarriedState:
    """All that B documents take along from chunk to chunk."""

    state: State  # of every layer and direction that is read, batch on dimension 1
    masks: State  # dropout masks that a document keeps, batch on dimension 1; no gradient flows into them
    pooled: Pooled  # the pooling's statistics so far, batch on dimension 0

    def first(self, rows: int) -> Self:
        """That of the first ``rows`` documents: the others have ended."""
        return self._rows(slice(None, rows))

    def rest(self, rows: int) -> Self:
        """That of the documents after the first ``rows``."""
        return self._rows(slice(rows, None))

    def _rows(self, rows: slice) -> Self:
        return type(self)(
            tuple(s[:, rows] for s in self.state),
            tuple(m[:, rows] for m in self.masks),
            tuple(p[rows] for p in self.pooled),
        )

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """The documents of all ``parts``, one after another."""
        if len(parts) == 1:
            return parts[0]
        by_rows = [
            tuple(torch.cat(same, dim=dim) for same in zip(*tensors, strict=True))
            for dim, tensors in (
                (1, [part.state for part in parts]),
                (1, [part.masks for part in parts]),
                (0, [part.pooled for part in parts]),
            )
        ]
        return cls(*by_rows)

    def detach(self) -> Self:
        """The same values, through which no gradient flows."""
        detached = tuple(p.detach() for p in self.pooled)
        return replace(self, state=tuple(s.detach() for s in self.state), pooled=detached)

    def renew(self, starts: Tensor, fresh: Self) -> Self:
        """Rows that start a document, ``starts`` (B,) bool, take theirs from ``fresh``; the others go on."""

        def chosen(new: tuple[Tensor, ...], old: tuple[Tensor, ...], dim: int) -> tuple[Tensor, ...]:
            of_rows = [starts.view([-1 if d == dim else 1 for d in range(o.dim())]) for o in old]
            return tuple(torch.where(s, n, o) for s, n, o in zip(of_rows, new, old, strict=True))

        return type(self)(
            chosen(fresh.state, self.state, 1), chosen(fresh.masks, self.masks, 1), chosen(fresh.pooled, self.pooled, 0)
        )
