"""A split of tokenised documents: flat token ids on disk, and where each document lies in them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]
OF_DOCUMENTS = ("starts", "lengths", "labels", "ids", "groups", "scores", "hashes")  # fields with a row per document


@dataclass(frozen=True)
class TokenCorpus:
    """Documents as slices of one flat, memory-mapped array that is shared by all splits cut from it, never copied.

    ``tokens`` holds type ids, which number every type of the corpus; ``table`` leads from them to vocabulary ids. So
    another split or vocabulary is another small table over the same file.
    """

    tokens: NDArray[Any]  # [total] type ids, unsigned or signed integers of any width
    table: NDArray[np.int32]  # [types] type id -> vocabulary id
    starts: Integers  # [N] where a document begins in `tokens`
    lengths: Integers  # [N] its tokens; 0 for an empty document
    labels: Integers  # [N] its class
    ids: Integers  # [N] number of its record in the file that it came from, from 1 (`Document.record`)
    groups: Integers | None = None  # [N] documents of one group stay together when splitting; negative: of none
    scores: NDArray[np.float32] | None = None  # [N, C] logits of the linear model that a network is mixed with
    hashes: NDArray[np.uint64] | None = None  # [N] of the whole documents' tokens, by which duplicates are found

    def __len__(self) -> int:
        return len(self.starts)

    def select(self, indices: Any) -> TokenCorpus:
        """The documents at ``indices`` (integers or a mask), in that order, over the same tokens."""
        chosen = np.asarray(indices)
        if chosen.dtype != bool:
            chosen = chosen.astype(np.int64)
        columns = {name: getattr(self, name) for name in OF_DOCUMENTS}
        return replace(self, **{name: values[chosen] for name, values in columns.items() if values is not None})

    def truncated(self, max_tokens: int, keep: str = "head") -> TokenCorpus:
        """The same documents, none of them longer than ``max_tokens``.

        keep: ``head``, the first tokens; ``tail``, the last; or ``head+tail``, the first quarter and the last three
        quarters of ``max_tokens``, as Sun et al. (2019) found best for classification.

        Head and tail are other slices of the same tokens. Head+tail copies the tokens that remain into memory.
        """
        lengths = np.minimum(self.lengths, max_tokens)
        if keep == "head":
            return replace(self, lengths=lengths)
        if keep == "tail":
            return replace(self, starts=self.starts + self.lengths - lengths, lengths=lengths)
        head = max_tokens // 4
        tokens = np.empty(int(lengths.sum()), dtype=self.tokens.dtype)
        starts = np.cumsum(lengths) - lengths
        for start, length, old_start, old_length in zip(
            starts.tolist(), lengths.tolist(), self.starts.tolist(), self.lengths.tolist(), strict=True
        ):
            first = head if length < old_length else length
            tokens[start : start + first] = self.tokens[old_start : old_start + first]
            last = length - first
            tokens[start + first : start + length] = self.tokens[old_start + old_length - last : old_start + old_length]
        return replace(self, tokens=tokens, starts=starts, lengths=lengths)

    def document(self, index: int) -> NDArray[np.int32]:
        """The vocabulary ids of one document, [T]."""
        start = int(self.starts[index])
        return self.table[self.tokens[start : start + int(self.lengths[index])]]

    def type_counts(self) -> Integers:
        """How often each type stands in these documents, [types]. Streams over the file: memory stays small."""
        counts = np.zeros(len(self.table), dtype=np.int64)
        for piece in self._pieces():
            counts += np.bincount(piece, minlength=len(self.table))
        return counts

    def _pieces(self, size: int = 1 << 22) -> Iterator[NDArray[Any]]:
        """All tokens of these documents in pieces of at most ``size`` tokens, in the order of the file."""
        order = np.argsort(self.starts, kind="stable")
        starts, ends = self.starts[order], (self.starts + self.lengths)[order]
        # Neighbouring documents are read as one run.
        breaks = np.flatnonzero(starts[1:] != ends[:-1]) + 1
        firsts, lasts = np.r_[0, breaks], np.r_[breaks, len(starts)] - 1
        if not len(starts):
            return
        waiting: list[NDArray[Any]] = []
        room = size
        for start, end in zip(starts[firsts].tolist(), ends[lasts].tolist(), strict=True):
            while start < end:
                step = min(end - start, room)
                waiting.append(self.tokens[start : start + step])
                start, room = start + step, room - step
                if room == 0:
                    yield np.concatenate(waiting)
                    waiting, room = [], size
        if waiting:
            yield np.concatenate(waiting)
