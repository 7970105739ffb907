"""Is one classifier better than another on the same documents, or was it luck?"""

import statistics
from collections.abc import Sequence

import numpy as np

from unrolled.train.results import RunResult, load_predictions


def mcnemar(only_first: int, only_second: int) -> float:
    """Two-sided exact p-value of McNemar's test (1947).

    Of the documents on which two classifiers differ in being right, ``only_first`` are right for the first one alone
    and ``only_second`` for the second one alone. Were both equally good, either would be as likely as the other:
    p = P(|X - n/2| >= |only_first - n/2|) with X binomial(n, 1/2).
    """
    n, fewer = only_first + only_second, min(only_first, only_second)
    if only_first == only_second:
        return 1.0
    term = total = 1  # of the binomial coefficients n over 0, ..., fewer
    for i in range(fewer):
        term = term * (n - i) // (i + 1)
        total += term
    return 2 * total / 2**n


def compare_runs(first: RunResult, second: RunResult) -> float | None:
    """McNemar's p for two runs; None where they have not saved predictions of the same documents."""
    one, two = load_predictions(first), load_predictions(second)
    if one is None or two is None:
        return None
    if not (np.array_equal(one["ids"], two["ids"]) and np.array_equal(one["labels"], two["labels"])):
        return None
    right_one, right_two = one["predicted"] == one["labels"], two["predicted"] == two["labels"]
    return mcnemar(int((right_one & ~right_two).sum()), int((~right_one & right_two).sum()))


def compare_configurations(first: Sequence[RunResult], second: Sequence[RunResult]) -> float | None:
    """The median of McNemar's p over pairs of runs with the same seed (in order of seeds where none is shared)."""
    by_seed = {run.config.get("seed"): run for run in second}
    pairs = [(run, by_seed[seed]) for run in first if (seed := run.config.get("seed")) in by_seed]
    values = [p for one, two in pairs or zip(first, second, strict=False) if (p := compare_runs(one, two)) is not None]
    return statistics.median(values) if values else None
