from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.data.vocabulary import Vocabulary, choose_types

texts = st.lists(st.one_of(st.text(max_size=3), st.sampled_from(["<pad>", "<unk>", "a", "b", "\\n"])), max_size=30)


@given(texts, texts, st.integers(1, 3), st.one_of(st.none(), st.integers(3, 9)))
def test_words_stand_by_count_then_alphabetically(
    train: list[str], test: list[str], min_count: int, max_size: int | None
) -> None:
    """The oracle is a Counter, sorted."""
    types = sorted({*train, *test})
    counts = np.array([train.count(name) for name in types], dtype=np.int64)
    vocabulary, table = choose_types(types, counts, max_size, min_count)

    counter = Counter(token for token in train if token not in ("<pad>", "<unk>"))
    known = [
        name for name, count in sorted(counter.items(), key=lambda item: (-item[1], item[0])) if count >= min_count
    ]
    expected = (["<pad>", "<unk>", *known])[:max_size]
    assert vocabulary.tokens == expected
    assert table.tolist() == [
        expected.index(name) if name in known and name in expected else 1 for name in types
    ]  # the table agrees with looking tokens up, and what only test has is unknown
    ordinary = [name for name in types if name not in ("<pad>", "<unk>")]
    assert vocabulary.lookup(ordinary) == [table[types.index(name)] for name in ordinary]


@given(
    st.lists(st.text(alphabet=st.one_of(st.sampled_from("\\nr\n\r\x85 "), st.characters(codec="utf-8"))), unique=True)
)
def test_a_saved_vocabulary_is_one_line_a_token_and_comes_back(
    tmp_path_factory: pytest.TempPathFactory, words: list[str]
) -> None:
    vocabulary = Vocabulary(["<pad>", "<unk>", *(word for word in words if word not in ("<pad>", "<unk>"))])
    path = tmp_path_factory.mktemp("vocabulary") / "vocabulary.txt"
    vocabulary.save(path)
    assert path.read_bytes().count(b"\n") == len(vocabulary)
    assert Vocabulary.load(path).tokens == vocabulary.tokens


def test_a_vocabulary_without_its_specials_or_with_a_token_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("the\nof\n")
    with pytest.raises(ValueError, match="starts with <pad> and <unk>, got"):
        Vocabulary.load(tmp_path / "words.txt")
    with pytest.raises(ValueError, match="each token once"):
        Vocabulary(["<pad>", "<unk>", "the", "the"])
