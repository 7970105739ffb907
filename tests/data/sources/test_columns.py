from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.data.sources.columns import LABEL_NAMES, TEXT_NAMES, find_columns
from unrolled.errors import UserError


@given(st.sampled_from(TEXT_NAMES), st.sampled_from(LABEL_NAMES), st.permutations(["id", "text?", "t", "l"]))
def test_common_names_are_found_wherever_they_stand(text: str, label: str, names: list[str]) -> None:
    names = [{"t": f" {text.upper()} ", "l": label.title()}.get(name, name) for name in names]
    assert find_columns(names, None, None, "f") == ([names.index(f" {text.upper()} ")], names.index(label.title()))


def test_the_likelier_name_wins() -> None:
    assert find_columns(["title", "author", "label", "text"], None, None, "f") == ([3], 2)


def test_many_columns_are_listed_in_short() -> None:
    with pytest.raises(UserError, match=r"'c0', 'c1', .* and 80 more") as refused:
        find_columns([f"c{number}" for number in range(100)], None, None, "f")
    assert len(str(refused.value)) < 600
