from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from unrolled.data.sources.files import JsonlFiles
from unrolled.data.sources.source import Notes
from unrolled.errors import UserError


def read(path: Path, notes: Notes | None = None, **keys: Any) -> list[tuple[str, str]]:
    return [
        (document.text, document.label)
        for document in JsonlFiles(str(path), **keys).documents("train", notes or Notes())
    ]


def refusal(tmp_path: Path, content: str | bytes, **keys: Any) -> str:
    path = tmp_path / "reviews.jsonl"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(UserError) as refused:
        read(path, **keys)
    message = str(refused.value)
    assert "\n" not in message
    assert "reviews.jsonl" in message
    return message


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.tuples(st.text(), st.text().filter(str.strip)), min_size=1, max_size=5), ascii_only=st.booleans()
)
def test_what_was_written_is_read(tmp_path: Path, rows: list[tuple[str, str]], ascii_only: bool) -> None:
    lines = [json.dumps({"id": 7, "label": label, "text": text}, ensure_ascii=ascii_only) for text, label in rows]
    content = "\n\n".join(lines).encode()
    for name, written in (
        ("a.jsonl", content),
        ("a.jsonl.gz", gzip.compress(content)),
        ("b", b"\xef\xbb\xbf" + content),
    ):
        (tmp_path / name).write_bytes(written)
        assert read(tmp_path / name) == rows


def test_numbers_and_truth_values_are_labels_and_half_characters_are_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    labels = ["1", "1.5", "true", '"x"', "-3"]
    path.write_text("\n".join(f'{{"text": "a\\ud800b", "label": {label}}}' for label in labels))
    assert read(path) == [("a\ufffdb", label.strip('"')) for label in labels]


def test_several_text_columns_are_joined(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"title": "one", "body": "two", "class": "x"}\n{"class": "y", "title": null, "body": "b"}\n')
    assert read(path, text_column=["title", "body"]) == [("one two", "x"), (" b", "y")]


GOOD = '{"text": "fine", "label": "pos"}\n'


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"text": "a", "label"\n', r"it is no JSON object (Expecting ':' delimiter"),
        ('["a", "b"]\n', "it is a list; each line must be an object"),
        ("3\n", "it is a bare value"),
        ("{}\n", "it is empty"),
        ('{"text": "a"}\n', "key 'label' is missing; it has 'text'"),
        ('{"text": ["a"], "label": "x"}\n', "key 'text' holds list, not text"),
        ('{"text": "a", "label": null}\n', "the label is missing"),
        ('{"text": "a", "label": ' + "9" * 5000 + "}\n", "it cannot be read as JSON"),
        ("[" * 100_000 + "\n", "it cannot be read as JSON"),
    ],
)
def test_a_wrong_line_stops_with_its_place_or_is_dropped_and_counted(tmp_path: Path, line: str, said: str) -> None:
    message = refusal(tmp_path, GOOD + "\n" + line + GOOD)
    assert "reviews.jsonl, record 2 (line 3): " in message
    assert said in message
    notes = Notes()
    assert read(tmp_path / "reviews.jsonl", notes, bad_rows="drop") == [("fine", "pos")] * 2
    assert sum(notes.counts.values()) == 1


def test_bytes_that_are_no_text_are_named_with_their_place(tmp_path: Path) -> None:
    message = refusal(tmp_path, GOOD.encode() + b'{"text": "d\xe9", "label": "x"}\n')
    assert "record 2 (line 2): the bytes e9 are not UTF-8; set data.encoding" in message
    assert read(tmp_path / "reviews.jsonl", encoding="latin-1")[1] == ("dé", "x")
