"""Tables in files as sources of documents: a file for each split, a row for each document."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import partial
from typing import Any, ClassVar, Literal

from unrolled.data.readers.columns import Columns
from unrolled.data.readers.csv_reader import CsvReader
from unrolled.data.readers.jsonl_reader import JsonlReader
from unrolled.data.readers.parquet_reader import ParquetReader
from unrolled.data.readers.reader import Place, Reader
from unrolled.data.readers.text_file import existing_file
from unrolled.data.sources.source import SPLITS, Document, Notes, Source
from unrolled.errors import UserError
from unrolled.files import sha256


@dataclass
class FileSource(Source):
    """A table in a file for each split: rows with a class and one or several columns of text.

    conf/data/jsonl.yaml says what the arguments mean; those that a subclass adds are the settings of its reader.
    """

    READER: ClassVar[type[Reader]]

    train: str
    valid: str | None = None
    test: str | None = None
    text_column: Any = None
    label_column: Any = None
    group_column: Any = None
    empty: Literal["keep", "drop"] = "keep"
    bad_rows: Literal["stop", "drop"] = "stop"

    def __post_init__(self) -> None:
        own = {key: getattr(self, key) for key in self.READER.setting_names()}
        self.reader = self.READER(Columns(self.text_column, self.label_column, self.group_column), **own)
        paths = {split: getattr(self, split) for split in SPLITS}
        self.files = {split: existing_file(path, f"data.{split}") for split, path in paths.items() if path is not None}
        self.name = self.files["train"].name.split(".")[0] or self.files["train"].name

    def look(self) -> None:
        for file in self.files.values():
            next(self.reader.rows(file, lambda place, kind, message: None), None)

    def splits(self) -> tuple[str, ...]:
        return tuple(self.files)

    def where(self, split: str) -> str:
        return str(self.files[split])

    def fingerprint(self) -> dict[str, Any]:
        settings = {each.name: getattr(self, each.name) for each in fields(self) if each.name not in SPLITS}
        files = {split: sha256(file) for split, file in self.files.items()}
        return {"reader": type(self).__name__, "files": files, "settings": settings}

    def documents(self, split: str, notes: Notes) -> Iterator[Document]:
        bad_row = partial(self._bad_row, notes)
        for place, texts, label, _, _, group in self.reader.rows(self.files[split], bad_row):
            if not label or label.isspace():
                bad_row(place, "row without label", "the label is missing; give one")
                continue
            text = texts[0] if len(texts) == 1 else " ".join(texts)
            if not text or text.isspace():
                notes.add(f"blank text {'dropped' if self.empty == 'drop' else 'kept'}", str(place))
                if self.empty == "drop":
                    continue
            yield Document(text, label, place.record, group)

    def _bad_row(self, notes: Notes, place: Place, kind: str, message: str) -> None:
        """A row that cannot be used: stop with the message, or count it under ``kind`` and go on."""
        if self.bad_rows == "stop":
            raise UserError(f"{place}: {message}, or set data.bad_rows=drop to leave such rows out")
        notes.add(f"{kind} dropped", str(place))


@dataclass
class CsvFiles(FileSource):
    """Tables in CSV or TSV files, one record a document. The settings of the reader: see `CsvReader`."""

    READER = CsvReader
    delimiter: str | None = None
    quoting: bool = True
    header: bool = True
    encoding: str | None = None


@dataclass
class JsonlFiles(FileSource):
    """Files with a JSON object on each line, whose keys are the columns. ``encoding``: see `JsonlReader`."""

    READER = JsonlReader
    encoding: str | None = None


class ParquetFiles(FileSource):
    """Tables in Parquet files, one row a document."""

    READER = ParquetReader
