import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from unrolled.data.tokenizer import build_tokenizer
from unrolled.use.incremental import IncrementalTokenizer

ALPHABET = "aB<br />.,\"'! \n\tΣ\u03c3é\u0301一\u00a0\u3000\uff02\uff1c"  # what tokenizers treat in their own way
TEXTS = st.lists(
    st.one_of(st.text(ALPHABET, max_size=8), st.sampled_from(["<br />", "<BR", " />", "ὈΔΥΣΣΕΎΣ "])), max_size=12
)


@pytest.mark.parametrize("normalization", [None, "NFC", "NFKD"])
@pytest.mark.parametrize("kind", ["words", "wordpunct", "whitespace", "characters", "bytes"])
@given(parts=TEXTS)
@example(parts=["<BR", '"', " />"])  # the double quote vanishes before line breaks are looked for
@example(parts=['<"b"', 'r""', "", " />x"])
@example(parts=["\uff1c\uff42\uff52\uff02", " />"])
@settings(max_examples=60, deadline=None)
def test_parts_give_the_tokens_of_the_whole(kind, normalization, parts) -> None:
    tokenizer = build_tokenizer(kind, normalization)
    incremental = IncrementalTokenizer(tokenizer)
    tokens = []
    for end, part in enumerate(parts, start=1):
        tokens += incremental.feed(part)
        assert tokens + incremental.rest() == tokenizer("".join(parts[:end])), "so far, too"


def test_little_of_a_long_text_waits() -> None:
    incremental = IncrementalTokenizer(build_tokenizer("words"))
    for _ in range(1000):
        incremental.feed("some words, ")
    assert len(incremental._waiting) < 20
