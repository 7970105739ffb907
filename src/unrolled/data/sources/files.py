"""What the sources share that read tables which the user names: a file for each split, and odd rows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unrolled.data.files import sha256
from unrolled.data.sources.columns import check_column
from unrolled.data.sources.lines import existing_file
from unrolled.data.sources.source import SPLITS, Document, Notes, Source
from unrolled.errors import UserError


@dataclass
class Place:
    """Where reading has come to; turned into words only when something is wrong there."""

    file: Path
    record: int = 0  # from 1, the header not counted
    line: int = 0  # from 1, where the record begins

    def __str__(self) -> str:
        return f"{self.file}, record {self.record}" + (f" (line {self.line})" if self.line else "")


class FileSource(Source):
    """A table in a file for each split: rows with a class and one or several columns of text.

    Args:
        train: file with training documents, or with all documents if no other file is given.
        valid, test: files, or None to split off train.
        text_column: name or number (from 1) of the column with the text; several in a list are joined by a blank;
            None finds it by a common name such as text, content or review.
        label_column: name or number of the column with the class; None finds it by a common name such as label.
        empty: what happens to blank texts: ``keep`` (a document without tokens) or ``drop``.
        bad_rows: what happens to rows that cannot be used (wrong number of fields, no label): ``stop`` or ``drop``.
    """

    def __init__(
        self,
        train: str | None = None,
        valid: str | None = None,
        test: str | None = None,
        text_column: Any = None,
        label_column: Any = None,
        empty: str = "keep",
        bad_rows: str = "stop",
    ) -> None:
        if train is None:
            raise UserError(
                "data.train is not set: it names the file with the training documents, as data.train=my.csv"
            )
        if empty not in ("keep", "drop"):
            raise UserError(f"data.empty must be keep or drop, got {empty!r}")
        if bad_rows not in ("stop", "drop"):
            raise UserError(f"data.bad_rows must be stop or drop, got {bad_rows!r}")
        if text_column is not None:
            check_column("text_column", text_column, several=True)
        if label_column is not None:
            check_column("label_column", label_column, several=False)
        given = dict(zip(SPLITS, (train, valid, test), strict=True))
        self.files = {split: existing_file(path, f"data.{split}") for split, path in given.items() if path is not None}
        self.text_column = list(text_column) if isinstance(text_column, tuple) else text_column
        self.label_column = label_column
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
            "settings": self.settings(),
        }

    def settings(self) -> dict[str, Any]:
        """How the files are read, as plain values; subclasses add their own."""
        return {
            "text_column": self.text_column,
            "label_column": self.label_column,
            "empty": self.empty,
            "bad_rows": self.bad_rows,
        }

    def bad_row(self, notes: Notes, kind: str, where: Place, message: str) -> None:
        """A row that cannot be used: stop with the message, or count it under ``kind`` and go on."""
        if self.bad_rows == "stop":
            raise UserError(f"{where}: {message}, or set data.bad_rows=drop to leave such rows out")
        notes.add(f"{kind} dropped", str(where))

    def document(self, texts: list[str], label: str, notes: Notes, where: Place) -> Document | None:
        """The document of a row, or None where it is left out."""
        if not label.strip():
            self.bad_row(notes, "row without label", where, "the label is missing; give one")
            return None
        text = texts[0] if len(texts) == 1 else " ".join(texts)
        if not text.strip():
            if self.empty == "drop":
                notes.add("blank text dropped", str(where))
                return None
            notes.add("blank text kept", str(where))
        return Document(text, label)
