"""Looking up an embedding's rows with a gradient of these rows alone."""

from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class RowUpdates(Protocol):
    """The interface of optimizers that update a weight's rows only when they are about to be read."""

    def catch_up(self, ids: Tensor) -> None:
        """Bring the rows ``ids``, each of which stands there once, up to date."""

    def flush(self) -> None:
        """Bring every row up to date."""

    def up_to_date(self) -> tuple[Tensor, Any]:
        """The weight as `flush` would leave it, first of all."""


def distinct(tokens: Tensor, vocabulary: int) -> tuple[Tensor, Tensor]:
    """The different ids of ``tokens`` (N,), ascending (U,), and the place of each token's id among them (N,).

    What torch.unique(return_inverse=True) gives, from a mark per vocabulary entry instead of a sort: many times faster
    for the tokens of a batch. NumPy takes one thread, which is faster than several that meet in every operator.
    """
    read = tokens.numpy()
    seen = np.zeros(vocabulary, dtype=bool)
    seen[read] = True
    (ids,) = seen.nonzero()
    place = np.empty(vocabulary, dtype=np.int64)
    place[ids] = np.arange(len(ids))
    return torch.from_numpy(ids), torch.from_numpy(place[read])


def look_up(weight: Tensor, tokens: Tensor, ids: Tensor, places: Tensor, padding: int | None = None) -> Tensor:
    """``weight[tokens]``, (N, E); the gradient of ``weight`` is sparse: the rows ``ids`` and nothing else.

    tokens: (N,); ids, places: as `distinct` gives them for these tokens; padding: an id whose gradient is zero.
    """
    found: Tensor = _Lookup.apply(weight, tokens, ids, places, padding)
    return found


class _Lookup(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, tokens: Tensor, ids: Tensor, places: Tensor, padding: int | None) -> Tensor:
        ctx.save_for_backward(ids, places)
        ctx.shape, ctx.padding = weight.shape, padding
        return weight.index_select(0, tokens)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        ids, places = ctx.saved_tensors
        padded = np.flatnonzero(ids.numpy() == ctx.padding)
        skipped = int(padded[0]) if len(padded) else -1
        rows = torch.ops.aten.embedding_dense_backward(gradient, places, len(ids), skipped, False)  # (U, E)
        sparse = torch.sparse_coo_tensor(ids.unsqueeze(0), rows, ctx.shape, is_coalesced=True, check_invariants=False)
        return sparse, None, None, None, None
