"""How much each chunk of a document counts when a step sees one chunk at a time."""

import torch
from torch import Tensor

from unrolled.tbptt.batch import Batch

CHUNK_LOSSES = ("final", "every", "linear")


def chunk_weights(loss: str, step: Batch, dtype: torch.dtype = torch.float32) -> Tensor:
    """Weights (B,) of each row's loss; over a document's n steps they sum to one, whatever its length.

    final: the last step counts; every: each counts 1/n; linear: step k = 1..n counts k / (1 + ... + n), the linear gain
    of Dai & Le (2015). An idle row counts nothing.
    """
    if loss == "final":
        return step.ended.to(dtype)
    active = (step.ids >= 0).to(dtype)
    count = step.count.to(dtype)
    if loss == "every":
        return active / count
    if loss == "linear":
        return active * 2 * (step.number + 1) / (count * (count + 1))
    raise ValueError(f"loss must be one of {', '.join(CHUNK_LOSSES)}, got {loss!r}")
