from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from unrolled.data.split import folds, split_off, stratified_sample

label_arrays = st.lists(st.integers(0, 4), min_size=1, max_size=80).map(lambda labels: np.array(labels, dtype=np.int64))


@given(label_arrays, st.floats(0.05, 0.9), st.integers(-3, 2**40))
def test_a_part_split_off_is_stratified_and_leaves_every_class_a_document(
    labels: np.ndarray, share: float, seed: int
) -> None:
    kept, off = split_off(labels, share, seed)
    assert sorted([*kept, *off]) == list(range(len(labels))), "each document is in exactly one part"
    assert list(kept) == sorted(kept)
    assert list(off) == sorted(off)
    for name in np.unique(labels):
        size, taken = int((labels == name).sum()), int((labels[off] == name).sum())
        assert size - taken >= 1
        assert abs(taken - share * size) < 1 or taken == size - 1
    assert len(off) <= round(share * len(labels))


def test_a_tenth_of_balanced_classes_is_a_tenth_of_each() -> None:
    labels = np.repeat(np.arange(3), 50)
    _, off = split_off(labels, 0.1, seed=0)
    assert np.bincount(labels[off]).tolist() == [5, 5, 5]


def test_classes_too_small_for_a_share_of_their_own_share_the_rounded_total() -> None:
    labels = np.repeat(np.arange(4), 5)
    _, off = split_off(labels, 0.1, seed=0)
    assert len(off) == 2, "a tenth of twenty, though each class has a claim to half a document only"
    assert len(set(labels[off])) == 2


def test_the_seed_decides_and_zero_is_a_seed() -> None:
    labels = np.repeat(np.arange(3), 50)
    parts = {seed: split_off(labels, 0.3, seed)[1].tolist() for seed in (0, 1, -1)}
    assert parts[0] == split_off(labels, 0.3, 0)[1].tolist()
    assert parts[0] != parts[1] != parts[-1]


@given(label_arrays, st.integers(2, 6))
def test_folds_hold_each_document_once_in_even_shares(labels: np.ndarray, count: int) -> None:
    parts = folds(labels, count)
    assert sorted(np.concatenate(parts)) == list(range(len(labels)))
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= 1
    for name in np.unique(labels):
        of_class = [int((labels[part] == name).sum()) for part in parts]
        assert max(of_class) - min(of_class) <= 1


@given(label_arrays, st.integers(1, 90), st.integers(0, 3))
def test_a_sample_keeps_every_class_while_there_is_room(labels: np.ndarray, count: int, seed: int) -> None:
    sample = stratified_sample(labels, count, seed)
    assert len(sample) == len(set(sample.tolist())) == min(count, len(labels))
    if count >= len(np.unique(labels)):
        assert set(labels[sample]) == set(labels)
