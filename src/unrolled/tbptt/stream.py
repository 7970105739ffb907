"""A stream's batches: the carried state waits between optimizer steps for the next chunk of the same rows."""

from dataclasses import replace

from unrolled.nn.network import Network
from unrolled.tbptt.batch import Batch
from unrolled.tbptt.carried import CarriedState
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
