from __future__ import annotations

import statistics
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.data.sources.build import build_source
from unrolled.data.sources.generated import Generated, ListOps, Recall
from unrolled.data.sources.source import Document, Notes
from unrolled.errors import UserError


def both(source: Generated) -> tuple[list[Document], list[Document]]:
    return list(source.documents("train", Notes())), list(source.documents("test", Notes()))


def value_of(expression: str) -> tuple[int, int]:
    """Value and depth of an expression, evaluated with a stack."""
    stack: list[list[Any]] = [[]]
    deepest = 0
    for token in expression.split():
        if token.startswith("["):
            stack.append([token])
            deepest = max(deepest, len(stack) - 1)
        elif token == "]":  # noqa: S105
            operator, *values = stack.pop()
            assert len(values) >= 2
            stack[-1].append(
                {
                    "[MAX": max(values),
                    "[MIN": min(values),
                    "[MED": int(statistics.median(values)),
                    "[SM": sum(values) % 10,
                }[operator]
            )
        else:
            stack[-1].append(int(token))
    ((value,),) = stack
    return value, deepest


@given(st.integers(0, 5), st.integers(4, 12), st.integers(0, 30), st.integers(1, 4), st.integers(2, 6))
def test_an_expression_has_the_value_of_its_class(seed: int, shortest: int, more: int, depth: int, args: int) -> None:
    longest = max(shortest + more, 14)
    shortest = min(shortest, args + 1)
    shortest = max(shortest, 4)
    train, test = both(ListOps(shortest, longest, depth, args, train=20, test=5, seed=seed))
    for text, label, *_ in [*train, *test]:
        value, deepest = value_of(text)
        assert str(value) == label
        assert deepest <= depth
        assert shortest <= len(text.split()) <= longest
    assert len({text for text, *_ in [*train, *test]}) == 25, "all different, so no test document stands in train"


def test_only_the_first_token_tells_the_class_of_recall() -> None:
    train, test = both(Recall(length=9, classes=3, train=300, test=50))
    assert all(text.split()[0] == label and len(text.split()) == 10 for text, label, *_ in [*train, *test])
    assert {label for _, label, *_ in train} == {"s0", "s1", "s2"}
    assert {token for text, *_ in train for token in text.split()[1:]} == {"s0", "s1", "s2"}
    assert len({text for text, *_ in [*train, *test]}) == 350


def test_other_noise_shares_no_symbol_with_the_classes() -> None:
    for document in both(Recall(length=9, classes=3, noise="other", train=300, test=50))[0]:
        first, *noise = document.text.split()
        assert first == document.label
        assert set(noise) <= {"n0", "n1", "n2"}


@pytest.mark.parametrize("source", [Recall, ListOps])
def test_the_same_arguments_make_the_same_documents_and_another_seed_others(source: type) -> None:
    first = both(source(train=30, test=10, seed=0))
    assert first == both(source(train=30, test=10, seed=0))
    assert first != both(source(train=30, test=10, seed=1))
    assert first[0] == both(source(train=30, test=20, seed=0))[0]


def test_more_documents_than_there_are_is_said() -> None:
    with pytest.raises(UserError, match=r"recall has only about 8 different documents.* 50 are asked for"):
        both(Recall(length=2, classes=2, train=40, test=10))
    with pytest.raises(UserError, match="finds no expression of 50 to 60 tokens"):
        both(ListOps(min_length=50, max_length=60, max_depth=1, max_args=2))


@pytest.mark.parametrize(
    ("source", "keys", "said"),
    [
        ("Recall", {"length": 0}, r"data\.length=0: must be at least 1"),
        ("Recall", {"classes": 1}, r"data\.classes=1: must be at least 2"),
        ("Recall", {"noise": "pink"}, r"data\.noise=pink: must be one of same, other"),
        ("Recall", {"train": 0}, r"data\.train=0: must be at least 1"),
        ("ListOps", {"min_length": 9, "max_length": 8}, r"data\.min_length must lie between 4 .* got 9 and 8"),
        ("ListOps", {"max_args": 1}, r"data\.max_args=1: must be at least 2"),
        ("ListOps", {"max_depth": 0}, r"data\.max_depth=0: must be at least 1"),
    ],
)
def test_wrong_arguments_are_named(source: str, keys: dict[str, int], said: str) -> None:
    with pytest.raises(UserError, match=said):
        build_source({"_target_": f"unrolled.data.sources.generated.{source}", **keys})
