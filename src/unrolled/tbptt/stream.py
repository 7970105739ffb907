"""Streams: the state that waits between optimizer steps for the next chunk, and what each chunk's loss counts."""

from dataclasses import replace
from typing import get_args

import torch
from torch import Tensor

from unrolled.nn.network import Network
from unrolled.tbptt.batch import Batch
from unrolled.tbptt.carried import CarriedState
from unrolled.tbptt.config import Loss
from unrolled.tbptt.loop import Truncation
from unrolled.tbptt.read import read, start


def read_stream(
    network: Network, batch: Batch, waiting: CarriedState | None, truncation: Truncation
) -> tuple[CarriedState, CarriedState]:
    """Read one chunk of every stream row.

    The batch's tokens are read from the carried state at their beginning, through which no gradient flows; within the
    batch none is truncated. What is carried after the first `batch.advance` blocks waits for the next optimizer step.
    All others (k2 > k1) are read again then: after an optimizer step what the old weights had made of them is stale.

    waiting: what the batch before left waiting; None at an epoch's beginning. Returns what has been read, for the loss,
    and what waits for the next batch.
    """
    blocks = batch.blocks
    fresh = start(network, blocks[0].rows)
    carried = fresh
    if waiting is not None:
        carried = waiting.renew(batch.fresh, fresh)
        if not truncation.carry:
            carried = replace(carried, state=fresh.state)
    within = replace(truncation, exact=len(blocks) > 1)
    carried = read(network, blocks[: batch.advance], carried, within)
    waiting = carried.detach()
    if batch.advance < len(blocks):
        carried = read(network, blocks[batch.advance :], carried, within)
    return carried, waiting


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
