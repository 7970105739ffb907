"""McNemar's test: are two classifiers equally often right on the same documents?"""

import statistics
from collections.abc import Sequence

import numpy as np

from unrolled.train.predictions import load_predictions
from unrolled.train.results import RunResult


def mcnemar(only_first: int, only_second: int) -> float:
    """Two-sided exact p-value of McNemar's test (1947).

    Of the documents on which two classifiers differ in being right, ``only_first`` are right for the first one alone
    and ``only_second`` for the second one alone. Were both equally good, either would be as likely as the other:
    p = P(|X - n/2| >= |only_first - n/2|) with X binomial(n, 1/2).
    """
    from scipy.special import bdtr  # not at the top: most of what imports this file tests nothing

    return min(1.0, 2 * float(bdtr(min(only_first, only_second), only_first + only_second, 0.5)))


def right_alone(first: RunResult, second: RunResult) -> tuple[int, int] | None:
    """On how many test documents each run is right and the other is not.

    None where they have not saved predictions of the same documents.
    """
    one, two = load_predictions(first), load_predictions(second)
    if one is None or two is None or not one[["ids", "labels"]].equals(two[["ids", "labels"]]):
        return None
    right_one, right_two = one.predicted == one.labels, two.predicted == two.labels
    return int((right_one & ~right_two).sum()), int((~right_one & right_two).sum())


def compare_runs(first: RunResult, second: RunResult) -> float | None:
    """McNemar's p for two runs; None where they have not saved predictions of the same documents."""
    counts = right_alone(first, second)
    return None if counts is None else mcnemar(*counts)


def compare_configurations(first: Sequence[RunResult], second: Sequence[RunResult]) -> float | None:
    """The median of McNemar's p over pairs of runs with the same seed (in order of seeds where none is shared).

    The folds of one cross-validation test different documents: with one seed they are one test over all of them.
    """
    by_repetition = {repetition(run): run for run in second}
    pairs = [(run, by_repetition[repetition(run)]) for run in first if repetition(run) in by_repetition]
    if not pairs:
        in_order = (sorted(runs, key=lambda run: str(repetition(run))) for runs in (first, second))
        pairs = list(zip(*in_order, strict=False))
    counts: dict[int | None, list[tuple[int, int]]] = {}
    for one, two in pairs:
        if (found := right_alone(one, two)) is not None:
            counts.setdefault(repetition(one)[0], []).append(found)
    values = [mcnemar(*np.sum(of_seed, axis=0).tolist()) for of_seed in counts.values()]
    return statistics.median(values) if values else None


def repetition(run: RunResult) -> tuple[int | None, int | None]:
    """Seed and fold (None without a cross-validation): what runs of one configuration differ in."""
    return run.config.get("seed"), run.config.get("data", {}).get("fold")
