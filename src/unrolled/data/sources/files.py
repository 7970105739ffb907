"""The base class of sources that read tables from files: a file for each split, a row for each document."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from unrolled.data.files import sha256
from unrolled.data.readers.reader import Place, Reader
from unrolled.data.readers.text_file import existing_file
from unrolled.data.sources.source import SPLITS, Document, Notes, Source
from unrolled.errors import UserError


class FileSource(Source):
    """A table in a file for each split: rows with a class and one or several columns of text.

    The constructors of its subclasses take ``text_column`` (name or number, from 1, of the column with the text;
    several in a list are joined by a blank; None finds it by a common name such as text, content or review) and
    ``label_column`` (name or number of the column with the class; None finds it by a common name such as label),
    and ``group_column`` (name or number of a column, such as the author or thread, whose documents with the same value
    stay together when validation and test are split off; None for no groups).

    Args:
        reader: of the files' format.
        train: file with training documents, or with all documents if no other file is given.
        valid, test: files, or None to split off train.
        empty: what happens to blank texts: ``keep`` (a document without tokens) or ``drop``.
        bad_rows: what happens to rows that cannot be used (wrong number of fields, no label): ``stop`` or ``drop``.
    """

    def __init__(
        self, reader: Reader, train: str | None, valid: str | None, test: str | None, empty: str, bad_rows: str
    ) -> None:
        if train is None:
            raise UserError(
                "data.train is not set: it names the file with the training documents, as data.train=my.csv"
            )
        check_choices(empty, bad_rows)
        given = dict(zip(SPLITS, (train, valid, test), strict=True))
        self.files = {split: existing_file(path, f"data.{split}") for split, path in given.items() if path is not None}
        self.reader = reader
        self.empty = empty
        self.bad_rows = bad_rows
        self.name = self.files["train"].name.split(".")[0] or self.files["train"].name

    def splits(self) -> tuple[str, ...]:
        return tuple(self.files)

    def where(self, split: str) -> str:
        return str(self.files[split])

    def fingerprint(self) -> dict[str, Any]:
        """Hashes of the files and every setting of the reader."""
        return {
            "reader": type(self).__name__,
            "files": {split: sha256(file) for split, file in self.files.items()},
            "settings": self.reader.settings() | {"empty": self.empty, "bad_rows": self.bad_rows},
        }

    def documents(self, split: str, notes: Notes) -> Iterator[Document]:
        bad_row = partial(self._bad_row, notes)
        for row in self.reader.rows(self.files[split], bad_row):
            if not row.label.strip():
                bad_row(row.place, "row without label", "the label is missing; give one")
                continue
            text = row.texts[0] if len(row.texts) == 1 else " ".join(row.texts)
            if not text.strip():
                notes.add(f"blank text {'dropped' if self.empty == 'drop' else 'kept'}", str(row.place))
                if self.empty == "drop":
                    continue
            yield Document(text, row.label, row.place.record, row.group)

    def _bad_row(self, notes: Notes, place: Place, kind: str, message: str) -> None:
        """A row that cannot be used: stop with the message, or count it under ``kind`` and go on."""
        if self.bad_rows == "stop":
            raise UserError(f"{place}: {message}, or set data.bad_rows=drop to leave such rows out")
        notes.add(f"{kind} dropped", str(place))


def check_choices(empty: str, bad_rows: str) -> None:
    """Refuse what is no way to deal with blank texts, or with rows or files that cannot be used."""
    if empty not in ("keep", "drop"):
        raise UserError(f"data.empty must be keep or drop, got {empty!r}")
    if bad_rows not in ("stop", "drop"):
        raise UserError(f"data.bad_rows must be stop or drop, got {bad_rows!r}")
