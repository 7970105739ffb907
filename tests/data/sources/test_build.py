"""Sources built from plain mappings, as a configuration without any schema gives them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from unrolled.data.sources.build import build_source
from unrolled.data.sources.source import Document, Notes, Source
from unrolled.errors import UserError

CSV = "unrolled.data.sources.csv_files.CsvFiles"
RECALL = "unrolled.data.sources.generated.Recall"


class Own(Source):
    """A source of the user's, with arguments of every simple type."""

    name = "own"

    def __init__(self, share: float, title: str | None = None, options: Any = None, **rest: Any) -> None:
        self.share, self.title, self.options, self.rest = share, title, options, rest

    def splits(self) -> tuple[str, ...]:
        return ("train",)

    def fingerprint(self) -> dict[str, Any]:
        return {}

    def documents(self, split: str, notes: Notes) -> Iterator[Document]:
        yield Document("text", "label")


def test_keys_are_the_arguments_of_the_constructor() -> None:
    source = build_source({"_target_": f"{__name__}.Own", "share": 1, "title": 2020, "options": {"a": [1]}, "more": 5})
    assert isinstance(source, Own)
    assert (source.share, type(source.share), source.title) == (1.0, float, "2020")
    assert source.options == {"a": [1]}
    assert source.rest == {"more": 5}


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"_target_": "no.such.module"}, r"data\._target_=no\.such\.module cannot be imported"),
        ({"_target_": "pathlib.Path"}, r"data\._target_=pathlib\.Path must name a subclass"),
        ({}, r"data\._target_=None cannot be imported"),
        ({"_target_": CSV, "val": "a.csv"}, r"data\.val=a\.csv: CsvFiles has no such key; did you mean data\.valid\?"),
        ({"_target_": CSV, "fodl": 1}, r"data\.fodl=1: CsvFiles has no such key; did you mean data\.fold\?"),
        ({"_target_": RECALL, "zzz": 1}, r"Recall has no such key; its keys are length, classes, noise, train"),
        ({"_target_": CSV, "train": "a", "header": "maybe"}, r"data\.header must be true or false, got 'maybe'"),
        ({"_target_": CSV, "train": ["a", "b"]}, r"data\.train must be a text or null, got \['a', 'b'\]"),
        ({"_target_": RECALL, "length": True}, r"data\.length must be a whole number, got True"),
        ({"_target_": RECALL, "length": 1.5}, r"data\.length must be a whole number, got 1\.5"),
        ({"_target_": RECALL, "length": None}, r"data\.length must be a whole number, got null"),
        ({"_target_": f"{__name__}.Own"}, r"data\.share is not set: Own needs it"),
        ({"_target_": "unrolled.data.sources.orange.OrangeTables"}, r"data\.corpus is not set"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_key_and_value(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build_source(keys)


@pytest.mark.parametrize("module", ["csv_files.CsvFiles", "jsonl.JsonlFiles", "parquet.ParquetFiles", "folder.Folder"])
def test_what_only_the_user_knows_is_asked_for(module: str) -> None:
    with pytest.raises(UserError, match=r"data\.train is not set: it names"):
        build_source({"_target_": f"unrolled.data.sources.{module}"})
    with pytest.raises(UserError, match=r"data\.path is not set: it names"):
        build_source({"_target_": "unrolled.data.sources.huggingface.HuggingFace"})


def test_a_file_that_is_called_like_a_number_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "2020").write_text("text,label\nfine,pos\n")
    monkeypatch.chdir(tmp_path)
    assert list(build_source({"_target_": CSV, "train": 2020}).documents("train", Notes())) == [("fine", "pos", 1)]
