from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.data.corpus import TokenCorpus


def corpus_of(documents: list[list[int]]) -> TokenCorpus:
    """Documents of type ids below 7, with a table that adds 10."""
    lengths = np.array([len(document) for document in documents], dtype=np.int64)
    return TokenCorpus(
        tokens=np.array([token for document in documents for token in document], dtype=np.uint8),
        table=np.arange(10, 17, dtype=np.int32),
        starts=np.cumsum(lengths) - lengths,
        lengths=lengths,
        labels=np.arange(len(documents), dtype=np.int64) % 3,
        ids=np.arange(len(documents), dtype=np.int64),
    )


documents_of_types = st.lists(st.lists(st.integers(0, 6), max_size=9), min_size=1, max_size=12)


@given(documents_of_types, st.data())
def test_selected_documents_are_the_documents(documents: list[list[int]], data: st.DataObject) -> None:
    chosen = data.draw(st.lists(st.integers(0, len(documents) - 1)))
    corpus = corpus_of(documents)
    selected = corpus.select(chosen)
    assert len(selected) == len(chosen)
    assert selected.tokens is corpus.tokens, "tokens are shared, never copied"
    for place, index in enumerate(chosen):
        assert selected.document(place).tolist() == [10 + token for token in documents[index]]
        assert selected.labels[place] == index % 3
        assert selected.ids[place] == index


@given(documents_of_types, st.data())
def test_type_counts_count_the_selected_documents_only(documents: list[list[int]], data: st.DataObject) -> None:
    chosen = data.draw(st.lists(st.integers(0, len(documents) - 1), unique=True))
    counts = corpus_of(documents).select(chosen).type_counts()
    flat = [token for index in chosen for token in documents[index]]
    assert counts.tolist() == [flat.count(token) for token in range(7)]


def test_counting_in_small_pieces_changes_nothing() -> None:
    corpus = corpus_of([[0, 1, 2], [], [3, 3, 3, 3, 3], [6], [4, 5]]).select([4, 2, 0])
    whole = np.concatenate(list(corpus._pieces()))
    pieces = list(corpus._pieces(size=2))
    assert [len(piece) for piece in pieces] == [2, 2, 2, 2, 2]
    assert np.concatenate(pieces).tolist() == whole.tolist() == [0, 1, 2, 3, 3, 3, 3, 3, 4, 5]


@pytest.mark.parametrize("keep", ["head", "tail", "head+tail"])
@given(lengths=st.lists(st.integers(0, 12), min_size=1, max_size=8), max_tokens=st.integers(1, 13))
def test_long_documents_keep_what_is_asked_for(keep: str, lengths: list[int], max_tokens: int) -> None:
    """The oracle is a list of Python lists, cut with slices."""
    sizes = np.array(lengths, dtype=np.int64)
    tokens = np.arange(sizes.sum(), dtype=np.uint16)
    nothing = np.zeros(len(sizes), dtype=np.int64)
    corpus = TokenCorpus(
        tokens, np.arange(len(tokens), dtype=np.int32), sizes.cumsum() - sizes, sizes, nothing, nothing
    )
    short = corpus.truncated(max_tokens, keep)
    for index in range(len(sizes)):
        whole = corpus.document(index).tolist()
        head = max_tokens // 4
        expected = {
            "head": whole[:max_tokens],
            "tail": whole[-max_tokens:],
            "head+tail": whole
            if len(whole) <= max_tokens
            else whole[:head] + whole[len(whole) - (max_tokens - head) :],
        }[keep]
        assert short.document(index).tolist() == expected
    assert len(short.tokens) <= len(tokens)
