from __future__ import annotations

import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from unrolled.data.sources.files import ParquetFiles
from unrolled.data.sources.source import Notes
from unrolled.errors import UserError


def read(path: Path, **keys: object) -> list[tuple[str, str]]:
    return [(document.text, document.label) for document in ParquetFiles(str(path), **keys).documents("train", Notes())]  # type: ignore[arg-type]


def test_rows_are_read_whatever_type_the_columns_have(tmp_path: Path) -> None:
    texts = [f"text {number}" for number in range(3000)]
    labels = [number % 7 for number in range(3000)]
    categories = pa.array([f"class {label}" for label in labels]).dictionary_encode()
    pq.write_table(
        pa.table({"text": texts, "label": labels, "kind": categories}), tmp_path / "a.parquet", row_group_size=900
    )
    assert read(tmp_path / "a.parquet") == [(text, str(label)) for text, label in zip(texts, labels, strict=True)]
    assert read(tmp_path / "a.parquet", label_column="kind")[8] == ("text 8", "class 1")


def test_what_is_wrong_is_said_with_file_and_record(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["a", None, "b"], "label": ["x", "y", None]}), path)
    with pytest.raises(UserError, match=r"a\.parquet, record 3: the label is missing"):
        read(path)
    assert read(path, bad_rows="drop") == [("a", "x"), ("", "y")]
    pq.write_table(pa.table({"text": [["a"]], "label": ["x"]}), path)
    with pytest.raises(UserError, match=r"a\.parquet: column 'text' holds list<.*>, not text"):
        read(path)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["word " * 50] * 99, "label": ["x", "y", "z"] * 33}), path, compression="none")
    whole = path.read_bytes()
    for content in (whole[:-20], whole[:40], b"text,label\n", whole[:4] + bytes(30) + whole[34:]):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"a\.parquet cannot be read as Parquet after record 0"):
            read(path)


def test_without_pyarrow_the_message_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)  # Python's own way to say that a module cannot be imported
    with pytest.raises(UserError, match=r"data=parquet needs the package pyarrow.*pip install -e '\.\[parquet\]'"):
        ParquetFiles(str(tmp_path))
