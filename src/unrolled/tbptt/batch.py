"""A batch: the chunks of some documents, in reading order, that one optimizer step sees."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unrolled.data.corpus import Integers, TokenCorpus

PADDING = 0  # the vocabulary id that fills blocks


@dataclass(frozen=True)
class Block:
    """One chunk of each of B rows, time first."""

    tokens: Tensor  # (K, B) int64 vocabulary ids, padded behind a row's length
    lengths: Tensor  # (B,) int64 true tokens in this chunk; 0: nothing to read here
    full: bool  # every row has K tokens: nothing to mask (known on the host, so no device is asked)
    pauses: bool  # a row has no token here whose document goes on later in the batch, so its state must stay

    @property
    def rows(self) -> int:
        return self.tokens.shape[1]


class Blocks(Sequence[Block]):
    """The blocks of a batch, each made of views of the batch's tensors when it is asked for.

    A document of 300,000 tokens has 3,000 blocks; as objects of their own they would take more memory than its tokens.
    """

    def __init__(self, batch: "Batch") -> None:
        self.batch = batch
        sizes = np.array(batch.shapes, dtype=np.int64)  # (blocks, 2): K and B
        self.position = [0, *np.cumsum(sizes[:, 0] * sizes[:, 1]).tolist()]  # where each block begins in `tokens`
        self.row = [0, *np.cumsum(sizes[:, 1]).tolist()]  # and in `lengths`

    def __len__(self) -> int:
        return len(self.batch.shapes)

    @overload
    def __getitem__(self, index: int) -> Block: ...

    @overload
    def __getitem__(self, index: slice) -> list[Block]: ...

    def __getitem__(self, index: int | slice) -> Block | list[Block]:
        if isinstance(index, slice):
            return [self[k] for k in range(*index.indices(len(self)))]
        k = range(len(self))[index]
        batch, (steps, rows) = self.batch, self.batch.shapes[k]
        return Block(
            tokens=batch.tokens[self.position[k] : self.position[k + 1]].view(steps, rows),
            lengths=batch.lengths[self.row[k] : self.row[k + 1]],
            full=batch.full[k],
            pauses=batch.pauses[k],
        )


@dataclass  # not frozen: Lightning converts floating-point tensors of a batch in place (precision=64-true)
class Batch:
    """What one optimizer step, or one step of evaluation, reads: blocks whose rows are the same documents.

    Rows only leave, from the end, so what is said once per row holds for the first rows of every block.
    """

    tokens: Tensor  # (positions,) int64, the blocks (K, B) one after another
    lengths: Tensor  # (rows of all blocks,) int64
    labels: Tensor  # (B,) int64 class of each document that the batch begins with
    ids: Tensor  # (B,) int64 these documents; -1: an idle row
    fresh: Tensor  # (B,) bool: read from the document's first token on, so no state is taken over
    ended: Tensor  # (B,) bool: read to the document's last token
    ended_rows: Tensor  # (num_documents,) int64 the rows where this is so: found on the host, so no device is asked
    number: Tensor  # (B,) int64 which of its document's batches this is, from 0
    count: Tensor  # (B,) int64 in how many batches the document is read
    shapes: tuple[tuple[int, int], ...]  # (K, B) of each block
    full: tuple[bool, ...]  # of each block
    pauses: tuple[bool, ...]  # of each block
    advance: int  # blocks after which the state is handed to the next batch (stream); the rest will be read again
    num_documents: int  # that end here
    num_tokens: int  # real ones, each counted in one batch only
    num_read: int  # real ones, those that an earlier batch has read included
    num_positions: int  # with padding: what is computed
    num_chunks: int  # chunks of documents: rows of blocks that have something to read
    num_carried: int  # of these chunks, those that go on from a carried state
    num_idle: int  # rows of blocks that have no document
    normalizer: float  # documents per batch and rank, on average: what the summed loss is divided by
    scores: Tensor | None = None  # (B, C) a linear model's logits of each whole document (`TokenCorpus.scores`)

    @property
    def blocks(self) -> Blocks:
        return Blocks(self)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Self:
        return self._with_tensors(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Self:
        """Page-locked, for copies that overlap with computing."""
        return self._with_tensors(Tensor.pin_memory)

    def _with_tensors(self, change: Callable[[Tensor], Tensor]) -> Self:
        changed: dict[str, Any] = {
            f.name: change(value) for f in fields(self) if isinstance(value := getattr(self, f.name), Tensor)
        }
        return replace(self, **changed)


def documents_batch(
    corpus: TokenCorpus, documents: Integers, chunk_len: int | None, normalizer: float | None = None
) -> Batch:
    """Whole documents, the longest first, in chunks; block k holds only the rows that reach it.

    documents: (B,) indices into ``corpus``; chunk_len: time steps per chunk, None for one chunk in all; normalizer: see
    `Batch`, B unless given.
    """
    documents = documents[np.argsort(-corpus.lengths[documents], kind="stable")]
    lengths = corpus.lengths[documents]
    longest = max(int(lengths.max(initial=0)), 1)
    size = chunk_len or longest
    parts = []
    for begin in range(0, longest, size):
        rows = int(np.count_nonzero(lengths > begin)) if begin else len(documents)
        parts.append(_Part(np.full(rows, begin), np.clip(lengths[:rows] - begin, 0, size), min(size, longest - begin)))
    once = np.zeros(len(documents), dtype=np.int64)
    return _batch(corpus, documents, parts, once, once + 1, len(parts), normalizer or float(max(len(documents), 1)))


def stream_batch(
    corpus: TokenCorpus,
    documents: Integers,
    begin: Integers,
    chunk_len: int,
    normalizer: float,
    reach: int | None = None,
) -> Batch:
    """The next ``chunk_len`` (k1) tokens of every stream row, read with those before them, ``reach`` (k2) in all.

    Every batch has the same shapes: blocks of the greatest common divisor of k1 and k2 time steps, so that within a
    block a row has either all its tokens or none, and its state after the block is exact. The first k1 time steps are
    those that the next batch will not read again; the state goes on after them.

    documents: (B,) what each row reads, -1 where it is idle; begin: (B,) the first token that is new; reach: k2, not
    below k1; k1 unless given.
    """
    reach = reach or chunk_len
    grid = math.gcd(chunk_len, reach)
    idle = documents < 0
    safe = np.where(idle, 0, documents)
    lengths = np.where(idle, 0, corpus.lengths[safe])
    end = np.minimum(begin + chunk_len, lengths)
    first = np.maximum(begin + chunk_len - reach, 0)  # where reading begins: the window goes back k2 from its full end
    split = np.minimum(np.maximum(begin + 2 * chunk_len - reach, 0), end)  # where the next batch's reading begins
    parts = []
    for start, stop, steps in ((first, split, chunk_len), (split, end, reach - chunk_len)):
        for offset in range(0, steps, grid):
            inside = np.clip(stop - start - offset, 0, grid)
            parts.append(_Part(start + offset, np.where(idle, 0, inside), grid))
    number = begin // chunk_len
    count = np.maximum(-(-lengths // chunk_len), 1)
    new = int(np.where(idle, 0, end - begin).sum())
    return _batch(corpus, documents, parts, number, count, chunk_len // grid, normalizer, new)


@dataclass(frozen=True)
class _Part:
    """One block to be: the rows' tokens ``begin .. begin + lengths`` in ``steps`` time steps."""

    begin: Integers  # (rows,)
    lengths: Integers  # (rows,)
    steps: int  # K


def _batch(
    corpus: TokenCorpus,
    documents: Integers,
    parts: list[_Part],
    number: Integers,
    count: Integers,
    advance: int,
    normalizer: float,
    num_tokens: int | None = None,
) -> Batch:
    idle = documents < 0
    safe = np.where(idle, 0, documents)
    whole = np.where(idle, 0, corpus.lengths[safe])
    shapes = tuple((part.steps, len(part.begin)) for part in parts)
    tokens = np.zeros(sum(steps * rows for steps, rows in shapes), dtype=np.int64)
    position = 0
    for part, (steps, rows) in zip(parts, shapes, strict=True):
        block = tokens[position : position + steps * rows].reshape(steps, rows)
        _fill(block, corpus, safe[:rows], part)
        position += steps * rows
    lengths = np.concatenate([part.lengths for part in parts])
    begin = np.concatenate([part.begin for part in parts])
    of = np.concatenate([np.arange(rows) for _, rows in shapes])  # which row
    read = (lengths > 0) | (whole[of] == 0) & (begin == 0)  # an empty document is read where it would begin
    read &= ~idle[of]
    fresh, ended = np.zeros(len(documents), dtype=bool), np.zeros(len(documents), dtype=bool)
    fresh[of[read & (begin == 0)]] = True
    ended[of[read & (begin + lengths >= whole[of])]] = True
    num_read = int(lengths.sum())
    return Batch(
        tokens=torch.from_numpy(tokens),
        lengths=torch.from_numpy(lengths),
        labels=torch.from_numpy(np.where(idle, 0, corpus.labels[safe]).astype(np.int64)),
        ids=torch.from_numpy(np.where(idle, -1, corpus.ids[safe]).astype(np.int64)),
        fresh=torch.from_numpy(fresh),
        ended=torch.from_numpy(ended),
        ended_rows=torch.from_numpy(np.flatnonzero(ended)),
        number=torch.from_numpy(number),
        count=torch.from_numpy(count),
        shapes=shapes,
        full=tuple(bool((part.lengths == part.steps).all()) for part in parts),
        pauses=tuple(bool((part.lengths == 0).any()) and k + 1 < len(parts) for k, part in enumerate(parts)),
        advance=advance,
        num_documents=int(ended.sum()),
        num_tokens=num_read if num_tokens is None else num_tokens,
        num_read=num_read,
        num_positions=len(tokens),
        num_chunks=int(read.sum()),
        num_carried=int((read & (begin > 0)).sum()),
        num_idle=int(idle[of].sum()),
        normalizer=normalizer,
        scores=None if corpus.scores is None else torch.from_numpy(corpus.scores[safe]),
    )


def _fill(block: NDArray[np.int64], corpus: TokenCorpus, documents: Integers, part: _Part) -> None:
    """Write the chunks ``part`` of ``documents`` (B,) into ``block`` (K, B), which holds padding."""
    time = np.arange(part.steps)[:, None]  # (K, 1)
    inside = time < part.lengths  # (K, B)
    if inside.any():
        where = np.where(inside, corpus.starts[documents] + part.begin + time, 0)
        block[...] = np.where(inside, corpus.table[corpus.tokens[where]], PADDING)
