from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.data.readers.columns import LABEL_NAMES, TEXT_NAMES, Columns
from unrolled.errors import UserError


@given(st.sampled_from(TEXT_NAMES), st.sampled_from(LABEL_NAMES), st.permutations(["id", "text?", "t", "l"]))
def test_common_names_are_found_wherever_they_stand(text: str, label: str, names: list[str]) -> None:
    names = [{"t": f" {text.upper()} ", "l": label.title()}.get(name, name) for name in names]
    assert Columns().find(names, "f") == ([names.index(f" {text.upper()} ")], names.index(label.title()))


def test_the_likelier_name_wins() -> None:
    assert Columns().find(["title", "author", "label", "text"], "f") == ([3], 2)


def test_many_columns_are_listed_in_short() -> None:
    with pytest.raises(UserError, match=r"'c0', 'c1', .* and 80 more") as refused:
        Columns().find([f"c{number}" for number in range(100)], "f")
    assert len(str(refused.value)) < 600


def test_without_a_class_a_text_is_enough() -> None:
    columns = Columns(labelled=False, prefix="")
    assert columns.find(["id", "Review"], "f") == ([1], None)
    assert columns.find(["anything"], "f") == ([0], None)
    assert columns.find(["utterance", "label"], "f") == ([0], None)
    assert columns.find(["text", "label", "label"], "f") == ([0], None), "a class twice does not matter"
    with pytest.raises(UserError, match=r"looks like the text \(text_column\); .*; set text_column to a name"):
        columns.find(["a", "b"], "f")


def test_the_usual_columns_are_taken_where_all_of_them_are_there_once() -> None:
    columns = Columns(labelled=False, usual=("title", "body"))
    assert columns.find(["text", "body", "title"], "f") == ([2, 1], None)
    assert columns.find(["text", "body"], "f") == ([0], None)
    assert columns.find(["text", "body", "title", "body"], "f") == ([0], None)


def test_of_two_columns_without_names_the_longer_one_is_the_text_unless_something_is_asked_for() -> None:
    assert Columns().find(["1", "2"], "f", longest=0) == ([0], 1)
    assert Columns(text=2).find(["1", "2"], "f", longest=0) == ([1], 0)
    assert Columns(label=1).find(["1", "2"], "f", longest=0) == ([1], 0)
