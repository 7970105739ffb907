"""Reversal of documents in time, for directions that read from the end."""

from collections.abc import Sequence

import torch
from torch import Tensor


def flip_index(shapes: Sequence[tuple[int, int]], lengths: Tensor) -> Tensor:
    """Where each position of flipped documents is found, if both lie flat, block after block.

    shapes: (K, B) of each block; all but the last have the same K, and rows that have ended leave, so B never grows;
    lengths: (B_0,) whole documents. Returns (sum of K * B,) int64: position p of the flipped documents is position
    index[p] of those in reading order, and the other way round. Padding stays where it is. A flipped document is as
    long as before, so every block keeps its shape.
    """
    device = lengths.device
    size = shapes[0][0]
    rows = torch.tensor([rows for _, rows in shapes], device=device)
    positions = torch.tensor([steps * rows for steps, rows in shapes], device=device)
    first = positions.cumsum(0) - positions  # where each block begins
    index = []
    for k, (steps, present) in enumerate(shapes):
        time = torch.arange(k * size, k * size + steps, device=device).unsqueeze(1)  # (K, 1)
        own = lengths[:present]
        source = torch.where(time < own, own - 1 - time, time)  # (K, B)
        block = source // size
        index.append((first[block] + (source % size) * rows[block] + torch.arange(present, device=device)).flatten())
    return torch.cat(index)
