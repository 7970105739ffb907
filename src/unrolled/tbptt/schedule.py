"""Schedules: which chunks of which documents each optimizer step of an epoch reads.

A schedule is a pure function of (document lengths, batch size, chunk length, seed, epoch, rank, world size):
it has an exact length, every rank has the same number of batches, and any batch of any epoch can be made again.
"""

import heapq
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from unrolled.data.corpus import TokenCorpus
from unrolled.tbptt.batch import Batch, documents_batch, stream_batch

EVALUATION_CHUNK = 256  # time steps of a chunk in evaluation, where its length changes no value, only memory
TELLING = 0.25  # share of the variance of the log length between classes from which on batches mix the classes


@dataclass(frozen=True)
class Batches:
    """The batches of one epoch, each made when it is asked for."""

    count: int
    make: Callable[[int], Batch]

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Batch:
        return self.make(range(self.count)[index])


class Schedule(Protocol):
    """Batches of an epoch, by number."""

    def __len__(self) -> int:
        """Batches per epoch on this rank, the same on every rank."""
        ...

    def batches(self, epoch: int) -> Batches:
        """The epoch's batches of this rank."""
        ...


@dataclass(frozen=True)
class DocumentsSchedule:
    """Batches of whole documents of like length, read chunk by chunk, one optimizer step each.

    Documents are sorted by their length times a random factor near 1 (``exp(noise * normal)``), split into batches, and
    the batches shuffled: rows of a batch end nearly together, and each epoch batches other documents together. Where
    length tells the class, such batches would be of one class each; there every class is sorted by itself and the
    classes are merged by rank, so that each batch has them in the proportions of the corpus, at the price of padding.
    With several ranks the rows of each batch are dealt round, so ranks hold like lengths and one global batch stays one
    step.
    """

    corpus: TokenCorpus
    batch_size: int  # documents per optimizer step, over all ranks
    chunk_len: int | None  # time steps per chunk; None: a document is one chunk
    seed: int = 0
    shuffle: bool = True
    noise: float = 0.05  # standard deviation of the log length when sorting; 0: the same neighbours in every epoch
    rank: int = 0
    world_size: int = 1

    def __len__(self) -> int:
        return -(-len(self.corpus) // self.batch_size)

    def order(self, epoch: int) -> list[np.ndarray]:
        """Document indices of every global batch of an epoch; every document stands in exactly one."""
        lengths = self.corpus.lengths
        if not self.shuffle:
            order = np.argsort(-lengths, kind="stable")
            return _split(order, self.batch_size)
        rng = np.random.default_rng((self.seed, epoch))
        order = rng.permutation(len(lengths))  # ties of equal length fall anew
        key = np.log1p(lengths[order]) + self.noise * rng.standard_normal(len(order))
        order = order[np.argsort(-key, kind="stable")]
        labels = self.corpus.labels[order]
        if told_by_length(labels, lengths[order]) > TELLING:
            order = order[np.argsort(_rank_in_class(labels, rng), kind="stable")]
        batches = _split(order, self.batch_size)
        return [batches[i] for i in rng.permutation(len(batches))]

    def batches(self, epoch: int) -> Batches:
        order = self.order(epoch)
        return Batches(len(order), lambda index: self._batch(order[index]))

    def _batch(self, documents: np.ndarray) -> Batch:
        longest_first = documents[np.argsort(-self.corpus.lengths[documents], kind="stable")]
        own = longest_first[self.rank :: self.world_size]
        return documents_batch(self.corpus, own, self.chunk_len, len(documents) / self.world_size)


@dataclass(frozen=True)
class StreamSchedule:
    """Stream rows that read one document after another, one chunk of every row per optimizer step.

    With ``reach`` (k2 of Williams & Peng 1990, where chunk_len is k1) each batch also reads again what came before the
    chunk, up to k2 tokens in all, so that its gradient goes back that far.

    Documents are shuffled and dealt, longest first, to the row with the fewest chunks so far (Graham 1969), so all
    rows finish together; within a row they are read in a random order. With several ranks each rank has its share
    of rows.
    """

    corpus: TokenCorpus
    rows: int  # stream rows, over all ranks
    chunk_len: int  # new time steps per batch (k1)
    seed: int = 0
    rank: int = 0
    world_size: int = 1
    reach: int | None = None  # time steps that a step's gradient goes back (k2), at least chunk_len; None: chunk_len

    def __len__(self) -> int:
        return len(self.plan(0)[0])

    def plan(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """The plan of an epoch: documents (batches, rows), -1 where a row is idle, and where their chunk begins."""
        chunks = np.maximum(-(-self.corpus.lengths // self.chunk_len), 1)  # an empty document takes one chunk, too
        rng = np.random.default_rng((self.seed, epoch))
        order = rng.permutation(len(chunks))
        rows: list[list[int]] = [[] for _ in range(self.rows)]
        heap = [(0, row) for row in range(self.rows)]
        for document in order[np.argsort(-chunks[order], kind="stable")]:
            used, row = heap[0]
            rows[row].append(int(document))
            heapq.heapreplace(heap, (used + int(chunks[document]), row))
        steps = max(used for used, _ in heap)
        documents = np.full((steps, self.rows), -1, dtype=np.int64)
        begin = np.zeros((steps, self.rows), dtype=np.int64)
        for row, read in enumerate(rows):
            own = rng.permutation(np.array(read, dtype=np.int64))
            per_document = chunks[own]
            total = int(per_document.sum())
            documents[:total, row] = np.repeat(own, per_document)
            first = np.repeat(np.cumsum(per_document) - per_document, per_document)
            begin[:total, row] = (np.arange(total) - first) * self.chunk_len
        return documents, begin

    def batches(self, epoch: int) -> Batches:
        documents, begin = (whole[:, self.rank :: self.world_size] for whole in self.plan(epoch))
        normalizer = len(self.corpus) / len(documents) / self.world_size
        return Batches(
            len(documents),
            lambda index: stream_batch(
                self.corpus, documents[index], begin[index], self.chunk_len, normalizer, self.reach
            ),
        )


def told_by_length(labels: np.ndarray, lengths: np.ndarray) -> float:
    """How much of the variance of the log length the classes explain, 1 at most: the adjusted correlation ratio.

    Adjusted for their number, it is about 0 where length and class have nothing to do with each other.
    """
    size = np.log1p(lengths)
    size -= size.mean()
    counts, sums = np.bincount(labels), np.bincount(labels, size)
    total = float((size**2).sum())
    within = total - float((sums**2 / np.maximum(counts, 1)).sum())
    documents, classes = len(labels), np.count_nonzero(counts)
    if total < 1e-9 or documents == classes:
        return 0.0
    return 1 - within / total * (documents - 1) / (documents - classes)


def _rank_in_class(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """For each document the share of its class that stands before it, and a random part of its own: within [0, 1)."""
    by_class = np.argsort(labels, kind="stable")
    counts = np.unique(labels, return_counts=True)[1]
    rank = np.empty(len(labels))
    rank[by_class] = np.concatenate([(np.arange(count) + rng.random(count)) / count for count in counts])
    return rank


def _split(order: np.ndarray, size: int) -> list[np.ndarray]:
    return [order[i : i + size] for i in range(0, len(order), size)]
