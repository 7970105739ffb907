"""Losses of a stream: how much each chunk of a document counts."""

from typing import get_args

import torch
from torch import Tensor

from unrolled.tbptt.batch import Batch
from unrolled.tbptt.config import Loss


def chunk_weights(loss: str, batch: Batch, dtype: torch.dtype = torch.float32) -> Tensor:
    """Weights (B,) of each row's loss; over a document's n batches they sum to one, whatever its length.

    final: the last batch counts; every: each counts 1/n; linear: batch k = 1..n counts k / (1 + ... + n), the linear
    gain of Dai & Le (2015). An idle row counts nothing.
    """
    if loss == "final":
        return batch.ended.to(dtype)
    active = (batch.ids >= 0).to(dtype)
    count = batch.count.to(dtype)
    if loss == "every":
        return active / count
    if loss == "linear":
        return active * 2 * (batch.number + 1) / (count * (count + 1))
    raise ValueError(f"loss must be one of {', '.join(get_args(Loss))}, got {loss!r}")
