from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from unrolled.data.config import DataConfig, TextConfig
from unrolled.data.prepare import prepare
from unrolled.data.saved_tokenizer import tokenizer_from_state
from unrolled.data.subword import Subword, train_subword, trained_subword
from unrolled.errors import UserError

TEXTS = ["the newest and the widest", "lower, lowest and newer", "小さい犬と大きい犬", "wide low new"] * 5


@pytest.mark.parametrize("kind", Subword.KINDS)
def test_pieces_put_together_are_the_text(kind: str) -> None:
    tokenizer = train_subword(kind, iter(TEXTS), 60, None)
    for text in ("the newest low", "lower and wider", "大きい犬"):
        assert "".join(tokenizer(text)).replace("▁", " ").strip() == text
    assert len({piece for text in TEXTS for piece in tokenizer(text)}) <= 60 - 2
    seen = {piece for text in TEXTS for piece in tokenizer(text)}
    assert set(tokenizer("жук")) - seen, "characters that training has not are unknown, not lost"


def test_the_same_texts_make_the_same_pairs() -> None:
    one, two = (train_subword("bpe", iter(TEXTS), 50, None) for _ in range(2))
    assert one.state() == two.state()


@pytest.mark.parametrize("kind", Subword.KINDS)
def test_the_state_brings_a_tokenizer_back(kind: str) -> None:
    one = train_subword(kind, iter(TEXTS), 50, "NFKC")
    again = tokenizer_from_state(json.loads(json.dumps(one.state())))
    assert again("ｌｏｗ newest") == one("low newest")  # noqa: RUF001
    assert len(json.dumps(one.describe())) < 300


def test_a_trained_tokenizer_is_kept_and_a_damaged_one_trained_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = trained_subword("bpe", iter(TEXTS), 50, None, {"files": "a"}, tmp_path)
    nothing: list[str] = []
    assert trained_subword("bpe", iter(nothing), 50, None, {"files": "a"}, tmp_path).model == first.model
    (file,) = (tmp_path / "tokenizers").glob("*.json")
    file.write_text(file.read_text().replace("low", "law"))
    with caplog.at_level(logging.WARNING):
        assert trained_subword("bpe", iter(TEXTS), 50, None, {"files": "a"}, tmp_path).model == first.model
    assert "damaged" in caplog.text
    assert trained_subword("bpe", iter(TEXTS[:1]), 50, None, {"files": "b"}, tmp_path).model != first.model


@pytest.mark.parametrize("kind", Subword.KINDS)
def test_training_sees_neither_validation_nor_test(
    kind: str, list_source: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each document has a character of its own: those of validation and test must all be unknown."""
    documents = [(f"text {chr(0x4E00 + number)}", str(number % 2)) for number in range(40)]
    monkeypatch.setattr("unrolled.data.prepare.build_source", lambda data: list_source(train=documents))
    data = prepare(DataConfig(), TextConfig(kind=kind, max_size=200), 3, tmp_path)
    held_out = [documents[record - 1][0][-1] for part in (data.valid, data.test) for record in part.ids]
    assert not any(character in data.tokenizer.state()["model"] for character in held_out)
    own = [part.document(index)[-1] for part in (data.valid, data.test) for index in range(len(part))]
    assert own == [1] * (len(data.valid) + len(data.test))
    assert all((data.train.document(index) > 1).all() for index in range(len(data.train)))
    assert data.tokenizer.kind == kind


def test_without_the_library_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)  # Python's own way to say that a module cannot be imported
    with pytest.raises(UserError, match=r"text=bpe needs the package tokenizers.*'\.\[subword\]'"):
        train_subword("bpe", TEXTS, 50, None)
