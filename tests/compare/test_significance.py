from math import comb

import pytest

from unrolled.compare.significance import compare_configurations, compare_runs, mcnemar


@pytest.mark.parametrize(("first", "second"), [(0, 1), (3, 9), (9, 3), (40, 41), (0, 12), (700, 1000)])
def test_p_is_the_share_of_coin_tosses_at_least_as_one_sided(first, second) -> None:
    """The oracle sums the binomial distribution over all outcomes, on both sides."""
    n = first + second
    distance = abs(first - n / 2)
    expected = sum(comb(n, k) for k in range(n + 1) if abs(k - n / 2) >= distance) / 2**n
    assert mcnemar(first, second) == pytest.approx(expected, rel=1e-12)


def test_without_a_difference_p_is_one() -> None:
    assert mcnemar(0, 0) == 1.0
    assert mcnemar(5, 5) == 1.0


def test_runs_are_compared_document_by_document(record) -> None:
    first = record("lstm", right=[True] * 8 + [False] * 2)
    second = record("gru", right=[True] * 1 + [False] * 7 + [True] + [False])
    assert compare_runs(first, second) == pytest.approx(mcnemar(7, 1))


def test_other_test_documents_give_no_p(record) -> None:
    first = record("lstm", right=[True] * 8)
    assert compare_runs(first, record("gru", right=[True] * 9)) is None
    assert compare_runs(first, record("gru")) is None


def test_seeds_are_paired_and_the_median_taken(record) -> None:
    best = [record("lstm", seed, right=[True] * 9) for seed in (0, 1, 2)]
    other = [
        record("gru", seed, right=[False] * wrong + [True] * (9 - wrong)) for seed, wrong in ((2, 9), (1, 3), (0, 1))
    ]
    assert compare_configurations(best, other) == pytest.approx(mcnemar(3, 0))


def test_folds_are_one_test_over_all_their_documents(record) -> None:
    def run(model: str, seed: int, fold: int, right: list[bool]):
        return record(model, seed, config={"data": {"fold": fold}}, right=right)

    best = [run("lstm", seed, fold, [True] * 6) for seed in (0, 1) for fold in (0, 1)]
    other = [
        run("gru", seed, fold, [False] * wrong + [True] * (6 - wrong))
        for seed, fold, wrong in ((1, 1, 6), (0, 0, 2), (0, 1, 3), (1, 0, 5))
    ]
    assert compare_configurations(best[:2], other) == pytest.approx(mcnemar(5, 0))
    assert compare_configurations(best[2:], other) == pytest.approx(mcnemar(11, 0))
    assert compare_configurations(best, other) == pytest.approx((mcnemar(5, 0) + mcnemar(11, 0)) / 2)
