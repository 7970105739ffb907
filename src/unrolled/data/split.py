"""Stratified, seeded parts of a set of documents: the same on every machine and for every version of NumPy."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]


def split_off(labels: Integers, share: float, seed: int, part: str = "random") -> tuple[Integers, Integers]:
    """Split off a share of the documents, each class in proportion.

    The part has ``round(share * N)`` documents as nearly as the classes allow: every class is rounded down, and the
    classes with the largest remainders get one more. A class always keeps at least one document behind.

    labels: class of each document, [N]; part: of each class: ``random``, or its ``first`` or ``last`` documents.
    Returns sorted indices of the documents that stay, and of those split off.
    """
    order, sizes, firsts = _ordered_classes(labels, seed, part)
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
    order, _, _ = _ordered_classes(labels, seed)
    return [np.sort(order[part::count]) for part in range(count)]


def stratified_sample(labels: Integers, count: int, seed: int) -> Integers:
    """At most ``count`` documents, each class in proportion and none lost while there is room; sorted indices."""
    if count >= len(labels):
        return np.arange(len(labels), dtype=np.int64)
    order, sizes, firsts = _ordered_classes(labels, seed)
    rank = np.arange(len(labels)) - np.repeat(firsts, sizes)
    # Documents ordered by how much of their class is drawn before them: rare classes' first documents come first.
    depth = rank / np.repeat(np.maximum(sizes, 1), sizes)
    return np.sort(order[np.argsort(depth, kind="stable")[:count]])


def split_off_groups(labels: Integers, groups: Integers, share: float, seed: int) -> tuple[Integers, Integers]:
    """Split off about a share of the documents, whole groups only.

    Groups are taken in random order, each if it brings the shares of its classes nearer to ``share`` (in squares, over
    the classes' sizes). A class always keeps at least one document behind.

    groups: of each document, [N]; a negative number is none, a document by itself. Returns what `split_off` does.
    """
    sizes = np.bincount(labels, minlength=1)
    weights = 1 / np.maximum(sizes, 1)
    taken = np.zeros(len(sizes), dtype=np.int64)
    off = np.zeros(len(labels), dtype=bool)
    for members, counts in _shuffled_groups(labels, groups, seed):
        nearer = (weights * counts * (2 * (share * sizes - taken) - counts)).sum() > 0
        if nearer and not ((counts > 0) & (taken + counts >= sizes)).any():
            taken += counts
            off[members] = True
    return np.flatnonzero(~off), np.flatnonzero(off)


def group_folds(labels: Integers, groups: Integers, count: int, seed: int = 0) -> list[Integers]:
    """Cut the documents into ``count`` parts of like size and classes, whole groups only; sorted indices.

    The largest group comes first, each goes where the fewest of its classes are. ``groups``: see `split_off_groups`.
    """
    parts: list[list[Integers]] = [[] for _ in range(count)]
    weights = 1 / np.maximum(np.bincount(labels, minlength=1), 1)
    filled = np.zeros((count, len(weights)))
    for members, counts in sorted(_shuffled_groups(labels, groups, seed), key=lambda group: -len(group[0])):
        best = int(np.lexsort((filled.sum(axis=1), filled @ (weights * counts)))[0])
        filled[best] += counts
        parts[best].append(members)
    nothing = np.zeros(0, dtype=np.int64)
    return [np.sort(np.concatenate([nothing, *part])) for part in parts]


def _shuffled_groups(labels: Integers, groups: Integers, seed: int) -> Iterator[tuple[Integers, Integers]]:
    """The groups in random order: the indices of their documents, and how many there are of each class, [C]."""
    alone = groups < 0
    own = np.where(alone, groups.max(initial=0) + 1 + np.arange(len(groups)), groups)
    order = np.argsort(own, kind="stable")
    bounds = np.flatnonzero(np.diff(own[order])) + 1
    members = np.split(order, bounds) if len(order) else []
    classes = int(labels.max(initial=0)) + 1
    for index in np.argsort(_draws(len(members), seed), kind="stable"):
        yield members[index], np.bincount(labels[members[index]], minlength=classes)


def _draws(count: int, seed: int) -> NDArray[np.uint64]:
    """Random numbers. The raw draws of a bit generator never change between versions; those of `permutation` may."""
    draws: NDArray[np.uint64] = np.random.PCG64(np.random.SeedSequence([abs(seed), int(seed < 0)])).random_raw(count)
    return draws


def _ordered_classes(labels: Integers, seed: int, part: str = "random") -> tuple[Integers, Integers, Integers]:
    """Documents class by class, within each shuffled, or the first or last ones first.

    Returns their indices [N], the classes' sizes and first places [C].
    """
    places = np.arange(len(labels))
    within = {"random": _draws(len(labels), seed), "first": places, "last": -places}[part]
    order = np.lexsort((within, labels)).astype(np.int64)
    sizes = np.bincount(labels, minlength=1).astype(np.int64)
    return order, sizes, np.cumsum(sizes) - sizes
