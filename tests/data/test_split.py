from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from unrolled.data.split import folds, group_folds, split_off, split_off_groups, stratified_sample

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


@given(label_arrays, st.floats(0.05, 0.9), st.sampled_from(["first", "last"]))
def test_the_first_or_last_documents_of_each_class_are_split_off(labels: np.ndarray, share: float, part: str) -> None:
    kept, off = split_off(labels, share, 0, part)
    drawn = split_off(labels, share, 0)[1]
    assert np.bincount(labels[off], minlength=5).tolist() == np.bincount(labels[drawn], minlength=5).tolist()
    for name in np.unique(labels):
        stays, goes = kept[labels[kept] == name], off[labels[off] == name]
        if len(goes):
            assert max(goes) < min(stays) if part == "first" else max(stays) < min(goes)


@st.composite
def grouped(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Classes and groups of some documents; a negative group is none."""
    pairs = draw(st.lists(st.tuples(st.integers(0, 3), st.integers(-2, 12)), min_size=1, max_size=80))
    labels, groups = np.array(pairs, dtype=np.int64).T
    return labels.copy(), groups.copy()


def whole(groups: np.ndarray) -> list[np.ndarray]:
    """The indices of each group; documents without one are groups by themselves."""
    together = [np.flatnonzero(groups == group) for group in np.unique(groups[groups >= 0])]
    return together + [np.array([index]) for index in np.flatnonzero(groups < 0)]


@given(grouped(), st.floats(0.05, 0.9), st.integers(-3, 2**40))
def test_groups_are_split_off_whole_until_no_other_would_bring_the_shares_nearer(
    documents: tuple[np.ndarray, np.ndarray], share: float, seed: int
) -> None:
    labels, groups = documents
    kept, off = split_off_groups(labels, groups, share, seed)
    assert sorted([*kept, *off]) == list(range(len(labels)))
    assert set(labels[kept]) == set(labels), "every class keeps a document"
    sizes = np.bincount(labels, minlength=4)

    def distance(part: np.ndarray) -> float:
        taken = np.bincount(labels[part], minlength=4)
        return float(((taken - share * sizes) ** 2 / np.maximum(sizes, 1)).sum())

    for members in whole(groups):
        inside = np.isin(members, off)
        assert inside.all() or not inside.any(), "a group is on one side"
        more = np.concatenate([off, members]).astype(np.int64)
        if not inside.any() and set(labels[np.setdiff1d(kept, members)]) == set(labels):
            assert distance(more) >= distance(off) - 1e-9
    assert split_off_groups(labels, groups, share, seed)[1].tolist() == off.tolist(), "the seed decides"


def test_another_seed_draws_other_groups() -> None:
    labels, groups = np.arange(300) % 3, np.arange(300) // 6
    parts = [split_off_groups(labels, groups, 0.2, seed)[1] for seed in range(4)]
    assert len({tuple(part) for part in parts}) == 4
    for part in parts:
        assert np.bincount(labels[part]).tolist() == [20, 20, 20], "groups of like classes give exact shares"


@given(grouped(), st.integers(2, 6))
def test_folds_of_groups_hold_each_document_once_and_no_group_twice(
    documents: tuple[np.ndarray, np.ndarray], count: int
) -> None:
    labels, groups = documents
    parts = group_folds(labels, groups, count)
    assert len(parts) == count
    assert sorted(np.concatenate(parts)) == list(range(len(labels)))
    fold = np.empty(len(labels), dtype=np.int64)
    for number, part in enumerate(parts):
        fold[part] = number
    for members in whole(groups):
        assert len(set(fold[members])) == 1
    if len(whole(groups)) >= count:
        assert all(len(part) for part in parts)


def test_folds_of_equal_groups_are_equal() -> None:
    labels, groups = np.arange(120) % 3, np.arange(120) // 6
    assert [np.bincount(labels[part]).tolist() for part in group_folds(labels, groups, 4)] == [[10, 10, 10]] * 4
