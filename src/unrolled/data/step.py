"""A step: the chunks of some documents, in reading order, that one optimizer step sees."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Self

import numpy as np
import torch
from torch import Tensor

from unrolled.data.corpus import TokenCorpus

PADDING = 0  # the vocabulary id that fills blocks


@dataclass(frozen=True)
class Block:
    """One chunk of each of B rows, time first."""

    tokens: Tensor  # (K, B) int64 vocabulary ids, padded behind a row's length
    lengths: Tensor  # (B,) int64 true tokens in this chunk; 0: an idle row or an empty document
    starts: Tensor  # (B,) bool: the document begins here
    ends: Tensor  # (B,) bool: the document ends here
    labels: Tensor  # (B,) int64 class of the row's document
    ids: Tensor  # (B,) int64 which document it is, in its split; -1: an idle row
    number: Tensor  # (B,) int64 which of its document's chunks this is, from 0
    count: Tensor  # (B,) int64 how many chunks the document has
    full: bool  # every row has K tokens: nothing to mask (known on the host, so no device is asked)

    @property
    def rows(self) -> int:
        """B."""
        return self.tokens.shape[1]

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Self:
        """The same block on ``device``."""
        tensors = {
            f.name: getattr(self, f.name).to(device, non_blocking=non_blocking)
            for f in fields(self)
            if f.name != "full"
        }
        return replace(self, **tensors)


@dataclass(frozen=True)
class Step:
    """What one training step, or one evaluation batch, reads."""

    blocks: list[Block]
    num_documents: int  # that end here
    num_tokens: int  # real ones
    num_positions: int  # with padding: what is computed
    normalizer: float  # documents per step and rank, on average: what the summed loss is divided by

    @property
    def labels(self) -> Tensor:
        """(B,) class of each document that the step starts with."""
        return self.blocks[0].labels

    @property
    def ids(self) -> Tensor:
        """(B,) the documents that the step starts with."""
        return self.blocks[0].ids

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Self:
        """The same step on ``device``."""
        return replace(self, blocks=[block.to(device, non_blocking) for block in self.blocks])

    def pin_memory(self) -> Self:
        """Page-locked, for copies that overlap with computing."""
        pinned = [
            replace(b, **{f.name: getattr(b, f.name).pin_memory() for f in fields(b) if f.name != "full"})
            for b in self.blocks
        ]
        return replace(self, blocks=pinned)


def read_tokens(corpus: TokenCorpus, documents: np.ndarray, begin: np.ndarray, lengths: np.ndarray) -> Tensor:
    """The chunks ``begin .. begin + lengths`` of ``documents`` (B,), padded: (max(lengths), B) int64."""
    steps = max(int(lengths.max(initial=0)), 1)
    time = np.arange(steps)[:, None]  # (K, 1)
    inside = time < lengths  # (K, B)
    where = np.where(inside, corpus.starts[documents] + begin + time, 0)
    if corpus.tokens.size == 0:
        return torch.full((steps, len(documents)), PADDING)
    ids = np.where(inside, corpus.table[corpus.tokens[where]], PADDING)
    return torch.from_numpy(ids.astype(np.int64))


def documents_step(
    corpus: TokenCorpus, documents: np.ndarray, chunk_len: int | None, normalizer: float | None = None
) -> Step:
    """Whole documents, the longest first, cut into chunks; block k holds only the rows that reach it.

    documents: (B,) indices into ``corpus``; chunk_len: time steps per chunk, None for one chunk in all; normalizer: see
    Step, B unless given.
    """
    documents = documents[np.argsort(-corpus.lengths[documents], kind="stable")]
    lengths = corpus.lengths[documents]
    longest = int(lengths.max(initial=0))
    size = chunk_len or max(longest, 1)
    blocks = []
    for begin in range(0, max(longest, 1), size):
        rows = max(int(np.count_nonzero(lengths > begin)), len(documents) if begin == 0 else 0)
        inside = np.clip(lengths[:rows] - begin, 0, size)
        blocks.append(_block(corpus, documents[:rows], np.full(rows, begin, dtype=np.int64), inside, size))
    return Step(blocks, len(documents), int(lengths.sum()), _positions(blocks), normalizer or float(len(documents)))


def stream_step(
    corpus: TokenCorpus, documents: np.ndarray, begin: np.ndarray, chunk_len: int, normalizer: float
) -> Step:
    """One chunk of every slot, always of shape (chunk_len, slots).

    documents: (B,) what each slot reads, -1 where it is idle; begin: (B,) the first token of its chunk.
    """
    idle = documents < 0
    safe = np.where(idle, 0, documents)
    lengths = np.where(idle, 0, np.clip(corpus.lengths[safe] - begin, 0, chunk_len))
    block = _block(corpus, documents, begin, lengths, chunk_len, widen=True)
    return Step([block], int(block.ends.sum()), int(lengths.sum()), _positions([block]), normalizer)


def _block(
    corpus: TokenCorpus, documents: np.ndarray, begin: np.ndarray, lengths: np.ndarray, size: int, widen: bool = False
) -> Block:
    idle = documents < 0
    safe = np.where(idle, 0, documents)
    tokens = read_tokens(corpus, safe, begin, lengths)
    if widen and tokens.shape[0] < size:
        tokens = torch.cat([tokens, torch.full((size - tokens.shape[0], len(documents)), PADDING)])
    return Block(
        tokens=tokens,
        lengths=torch.from_numpy(lengths.astype(np.int64)),
        starts=torch.from_numpy(~idle & (begin == 0)),
        ends=torch.from_numpy(~idle & (begin + lengths >= corpus.lengths[safe])),
        labels=torch.from_numpy(np.where(idle, 0, corpus.labels[safe]).astype(np.int64)),
        ids=torch.from_numpy(np.where(idle, -1, corpus.ids[safe]).astype(np.int64)),
        number=torch.from_numpy(begin // size),
        count=torch.from_numpy(np.maximum(-(-corpus.lengths[safe] // size), 1)),
        full=bool((lengths == tokens.shape[0]).all()),
    )


def _positions(blocks: Sequence[Block]) -> int:
    return sum(block.tokens.numel() for block in blocks)
