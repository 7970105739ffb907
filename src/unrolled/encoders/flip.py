"""Reading a document from its end."""

import torch
from torch import Tensor


def flip_within_length(x: Tensor, lengths: Tensor | None) -> Tensor:
    """Reverse each row in time within its own length; what lies past a row's end stays where it is.

    x: (T, B, ...), lengths: (B,) integers from 0 to T, or None where every row has T steps. Flipping twice gives x
    again, so the same call turns outputs back into reading order.
    """
    if lengths is None:
        return x.flip(0)
    time = torch.arange(x.shape[0], device=x.device).unsqueeze(1)  # (T, 1)
    source = torch.where(time < lengths, lengths - 1 - time, time)  # (T, B)
    return x[source, torch.arange(x.shape[1], device=x.device)]


def flip_chunks(chunks: list[Tensor], lengths: Tensor) -> list[Tensor]:
    """The same documents read from their ends, cut on the same grid.

    chunks: (K_k, B_k, ...) each, consecutive in time, rows sorted so that finished ones have left: B_0 >= B_1 >= ...;
    lengths: (B_0,) whole documents. A flipped document is as long as before, so every chunk keeps its shape.
    """
    if len(chunks) == 1:
        return [flip_within_length(chunks[0], lengths)]
    rows = chunks[0].shape[1]
    whole = torch.cat([_widen(chunk, rows) for chunk in chunks])
    flipped = flip_within_length(whole, lengths).split([chunk.shape[0] for chunk in chunks])
    return [part[:, : chunk.shape[1]] for part, chunk in zip(flipped, chunks, strict=True)]


def _widen(chunk: Tensor, rows: int) -> Tensor:
    missing = rows - chunk.shape[1]
    return torch.cat([chunk, chunk.new_zeros(chunk.shape[0], missing, *chunk.shape[2:])], dim=1) if missing else chunk
