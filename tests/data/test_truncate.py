from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.data.corpus import TokenCorpus
from unrolled.data.truncate import truncate


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
    short = truncate(corpus, max_tokens, keep)
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
