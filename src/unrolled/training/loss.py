"""How much each chunk of a document counts when a step sees one chunk at a time."""

from torch import Tensor

from unrolled.data.step import Block

CHUNK_LOSSES = ("final", "every", "linear")


def chunk_weights(loss: str, block: Block) -> Tensor:
    """Weights (B,) of each row's loss; over a document's n chunks they sum to one, whatever its length.

    final: the last chunk counts; every: each counts 1/n; linear: chunk k = 1..n counts k / (1 + ... + n), the linear gain
    of Dai & Le (2015). An idle row counts nothing.
    """
    if loss == "final":
        return block.ends.float()
    active = (block.ids >= 0).float()
    count = block.count.float()
    if loss == "every":
        return active / count
    if loss == "linear":
        return active * 2 * (block.number + 1) / (count * (count + 1))
    raise ValueError(f"loss must be one of {', '.join(CHUNK_LOSSES)}, got {loss!r}")

