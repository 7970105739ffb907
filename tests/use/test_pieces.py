import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled.data.tokenizer import build_tokenizer
from unrolled.use.pieces import PiecewiseTokenizer

ALPHABET = "aB<br />.,\"'! \n\tΣ\u03c3é\u0301一\u00a0\u3000"  # what tokenizers treat in their own way
TEXTS = st.lists(
    st.one_of(st.text(ALPHABET, max_size=8), st.sampled_from(["<br />", "<BR", " />", "ὈΔΥΣΣΕΎΣ "])), max_size=12
)


@pytest.mark.parametrize("normalization", [None, "NFC", "NFKD"])
@pytest.mark.parametrize("kind", ["words", "whitespace", "characters", "bytes"])
@given(pieces=TEXTS)
@settings(max_examples=60, deadline=None)
def test_pieces_give_the_tokens_of_the_whole(kind, normalization, pieces) -> None:
    tokenizer = build_tokenizer(kind, normalization)
    piecewise = PiecewiseTokenizer(tokenizer)
    tokens = []
    for end, piece in enumerate(pieces, start=1):
        tokens += piecewise.feed(piece)
        assert tokens + piecewise.rest() == tokenizer("".join(pieces[:end])), "so far, too"


def test_little_of_a_long_text_waits() -> None:
    piecewise = PiecewiseTokenizer(build_tokenizer("words"))
    for _ in range(1000):
        piecewise.feed("some words, ")
    assert len(piecewise._waiting) < 20
