from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.data.saved_tokenizer import tokenizer_from_state
from unrolled.data.tokenizer import TOKENIZERS, build_tokenizer
from unrolled.errors import UserError


def basic_english_by_character(text: str) -> list[str]:
    """The documented rules of basic_english, read one character at a time."""
    text = text.lower().replace('"', "")
    spaced = []
    position = 0
    while position < len(text):
        if text.startswith("<br />", position):
            spaced.append(" ")
            position += 6
            continue
        character = text[position]
        spaced.append(f" {character} " if character in "'.,()!?" else " " if character in ";:" else character)
        position += 1
    return "".join(spaced).split()


marks = st.sampled_from(
    ["'", '"', ".", "<br />", "<b", '"r />', ",", "(", ")", "!", "?", ";", ":", " ", "\n", "A", "ß"]
)


@given(st.lists(st.one_of(marks, st.text(max_size=4))).map("".join))
def test_words_are_those_of_basic_english(text: str) -> None:
    """Quotes vanish before line breaks are looked for, so <b"r /> is one, as in torchtext."""
    assert build_tokenizer("words")(text) == basic_english_by_character(text)


def test_what_becomes_of_numbers_addresses_emoticons_negations_and_capitals() -> None:
    """As experiments/text_treatment/README.md has it."""
    text = "Don't pay 3.50: see http://a.org/x?y=1 ;-) @Ann"
    words = "don ' t pay 3 . 50 see http //a . org/x ? y=1 - ) @ann"
    wordpunct = "don ' t pay 3 . 50 : see http : / / a . org / x ? y = 1 ; - ) @ ann"
    assert build_tokenizer("words")(text) == words.split()
    assert build_tokenizer("wordpunct")(text) == wordpunct.split()


def test_words_of_the_example_in_the_documentation_of_torchtext() -> None:
    text = "You can now install TorchText using pip!"
    assert build_tokenizer("words")(text) == ["you", "can", "now", "install", "torchtext", "using", "pip", "!"]


@given(
    st.lists(st.one_of(marks, st.text(max_size=4), st.sampled_from(["हिन्दी", "e\u0301", "_", "€", "٣"]))).map("".join)
)
def test_each_mark_and_symbol_is_a_token_and_accents_stay_in_their_word(text: str) -> None:
    spaced = []
    for character in text.lower().replace("<br />", " "):
        mark = unicodedata.category(character)[0] in "PS" and character != "_" and not character.isalnum()
        spaced.append(f" {character} " if mark else character)
    assert build_tokenizer("wordpunct")(text) == "".join(spaced).split()


@given(st.text())
def test_characters_and_whitespace_and_bytes_lose_nothing(text: str) -> None:
    assert "".join(build_tokenizer("characters")(text)) == text
    assert build_tokenizer("whitespace")(text) == text.split()
    assert bytes.fromhex("".join(build_tokenizer("bytes")(text))).decode() == text


@given(st.text(), st.sampled_from(["NFC", "NFD", "NFKC", "NFKD"]))
def test_normalization_makes_equivalent_texts_equal(text: str, form: str) -> None:
    tokenizer = build_tokenizer("characters", form)
    assert "".join(tokenizer(text)) == unicodedata.normalize(form, text)


@pytest.mark.parametrize("kind", sorted(TOKENIZERS))
def test_a_tokenizer_comes_back_from_its_state(kind: str) -> None:
    tokenizer = build_tokenizer(kind, "NFKC")
    again = tokenizer_from_state(json.loads(json.dumps(tokenizer.state())))
    text = "Ｆｕｌｌ width, and 'quoted'"  # noqa: RUF001
    assert again(text) == tokenizer(text) != build_tokenizer(kind)(text)


def test_a_wrong_choice_names_the_key() -> None:
    with pytest.raises(UserError, match=r"text\.kind must be one of auto, words, .* got 'wrds'"):
        build_tokenizer("wrds")
