"""Stratified, seeded parts of a set of documents: the same on every machine and for every version of NumPy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]


def split_off(labels: Integers, share: float, seed: int) -> tuple[Integers, Integers]:
    """Split off a share of the documents, each class in proportion.

    The part has ``round(share * N)`` documents as nearly as the classes allow: every class is rounded down, and the
    classes with the largest remainders get one more. A class always keeps at least one document behind.

    Args:
        labels: class of each document, [N].
        share: between 0 and 1.
        seed: any integer; another seed draws another part.

    Returns:
        sorted indices of the documents that stay, and of those split off.
    """
    order, sizes, firsts = _shuffled_classes(labels, seed)
    exact = share * sizes
    wanted = np.floor(exact).astype(np.int64)
    short = round(share * len(labels)) - int(wanted.sum())
    largest = np.argsort(-(exact - wanted), kind="stable")
    wanted[largest[: max(short, 0)]] += 1
    wanted = np.minimum(wanted, np.maximum(sizes - 1, 0))
    rank = np.arange(len(labels)) - np.repeat(firsts, sizes)  # place of each document in its shuffled class
    off = rank < np.repeat(wanted, sizes)
    return np.sort(order[~off]), np.sort(order[off])


def folds(labels: Integers, count: int, seed: int = 0) -> list[Integers]:
    """Cut the documents into ``count`` stratified parts of like size, each document in exactly one; sorted indices.

    Classes are dealt out one after another like cards, each where the one before stopped, so that neither the parts'
    sizes nor a class' share in them differ by more than one document.
    """
    order, _, _ = _shuffled_classes(labels, seed)
    return [np.sort(order[part::count]) for part in range(count)]


def stratified_sample(labels: Integers, count: int, seed: int) -> Integers:
    """At most ``count`` documents, each class in proportion and none lost while there is room; sorted indices."""
    if count >= len(labels):
        return np.arange(len(labels), dtype=np.int64)
    order, sizes, firsts = _shuffled_classes(labels, seed)
    rank = np.arange(len(labels)) - np.repeat(firsts, sizes)
    # Documents ordered by how much of their class is drawn before them: rare classes' first documents come first.
    depth = rank / np.repeat(np.maximum(sizes, 1), sizes)
    return np.sort(order[np.argsort(depth, kind="stable")[:count]])


def _shuffled_classes(labels: Integers, seed: int) -> tuple[Integers, Integers, Integers]:
    """Documents class by class, shuffled within each: their indices [N], the classes' sizes and first places [C]."""
    # The raw draws of a bit generator never change between versions; those of `permutation` may.
    draws = np.random.PCG64(np.random.SeedSequence([abs(seed), int(seed < 0)])).random_raw(len(labels))
    order = np.lexsort((draws, labels)).astype(np.int64)
    sizes = np.bincount(labels, minlength=1).astype(np.int64)
    return order, sizes, np.cumsum(sizes) - sizes
