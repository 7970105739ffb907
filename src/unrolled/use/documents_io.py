"""Reading texts to classify, and writing them with their classes: CSV, TSV, JSON lines, plain lines, pipes."""

import csv
import gzip
import io
import json
import os
import sys
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from unrolled.data.sources.columns import TEXT_NAMES
from unrolled.errors import UserError

FORMATS = ("csv", "tsv", "jsonl", "lines")
ENDINGS = {".csv": "csv", ".tsv": "tsv", ".tab": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".txt": "lines"}

csv.field_size_limit(1 << 30)  # a field may be a whole book

Row = Any  # whatever the reader gives and the writer of the same format takes


def format_of(name: str, given: str | None, key: str) -> str:
    """``given``, or what the ending of file ``name`` says; plain lines for a pipe."""
    if given is not None:
        if given not in FORMATS:
            raise UserError(f"{key}={given}: choose one of {', '.join(FORMATS)}")
        return given
    if name == "-":
        return "lines"
    path = Path(name)
    ending = path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix
    if ending.lower() not in ENDINGS:
        raise UserError(
            f"{name}: the ending {ending or 'is missing and'} tells no format; give {key}= one of {', '.join(FORMATS)}"
        )
    return ENDINGS[ending.lower()]


@contextmanager
def opened_input(name: str) -> Iterator[IO[str]]:
    """Standard input for ``-``, otherwise the file, gzipped where it ends in .gz; UTF-8, a byte-order mark left out."""
    if name == "-":
        yield io.TextIOWrapper(sys.stdin.buffer, encoding="utf-8-sig", newline="", errors="strict")
        return
    try:
        file = _open_text(name)
    except OSError as error:
        raise UserError(f"input={name} cannot be read: {error.strerror or error}") from error
    with file:
        yield file


@contextmanager
def opened_output(name: str) -> Iterator[IO[str]]:
    """Standard output for ``-``, otherwise a file that appears under its name when it is complete."""
    if name == "-":
        yield sys.stdout
        sys.stdout.flush()
        return
    path = Path(name)
    if not path.parent.is_dir():
        raise UserError(f"output={name} cannot be written: there is no directory {path.parent}")
    with tempfile.NamedTemporaryFile(
        "w", dir=path.parent, prefix=f".{path.name}.", delete=False, encoding="utf-8", newline=""
    ) as out:
        try:
            yield out
        except BaseException:
            Path(out.name).unlink()
            raise
    umask = os.umask(0)
    os.umask(umask)
    Path(out.name).chmod(0o666 & ~umask)  # temporary files are private
    Path(out.name).replace(path)


def _open_text(name: str) -> IO[str]:
    if name.endswith(".gz"):
        return gzip.open(name, "rt", encoding="utf-8-sig", newline="")
    return Path(name).open(encoding="utf-8-sig", newline="")


class Reader(ABC):
    """Rows of an input, each with a text."""

    columns: Sequence[str] | None = None  # where rows have names for their fields

    @abstractmethod
    def rows(self) -> Iterator[tuple[Row, str]]:
        """(row as it was read, its text), in order."""


class LinesReader(Reader):
    """Each line a text."""

    def __init__(self, stream: IO[str]) -> None:
        self.stream = stream

    def rows(self) -> Iterator[tuple[Row, str]]:
        for line in self.stream:
            text = line.rstrip("\r\n")
            yield text, text


class TableReader(Reader):
    """CSV or TSV with a header; ``text_column``, ``usual``: see `find_text_columns`."""

    def __init__(
        self, stream: IO[str], name: str, delimiter: str, text_column: str | None, usual: Sequence[str] = ()
    ) -> None:
        self.name = name
        self._rows = csv.reader(stream, delimiter=delimiter)
        header = next(self._rows, None)
        if header is None:
            raise UserError(f"input={name} is empty: not even a header")
        self.columns = header
        self._texts = find_text_columns(header, text_column, name, usual)

    def rows(self) -> Iterator[tuple[Row, str]]:
        assert self.columns is not None
        for number, row in enumerate(self._numbered(), start=1):
            if not row:
                continue  # a blank line
            if len(row) != len(self.columns):
                raise UserError(
                    f"input={self.name}, record {number} (line {self._rows.line_num}): {len(row)} fields, the header "
                    f"has {len(self.columns)}; put fields with delimiters or line breaks in double quotes"
                )
            yield row, " ".join(row[index] for index in self._texts)

    def _numbered(self) -> Iterator[list[str]]:
        try:
            yield from self._rows
        except csv.Error as error:
            raise UserError(f"input={self.name}, line {self._rows.line_num}: {error}") from error


class JsonlReader(Reader):
    """An object on each line; ``text_column``, ``usual``: see `find_text_columns`, of the first line's keys."""

    def __init__(self, stream: IO[str], name: str, text_column: str | None, usual: Sequence[str] = ()) -> None:
        self.stream = stream
        self.name = name
        self._keys = None if text_column is None else [text_column]
        self._usual = usual

    def rows(self) -> Iterator[tuple[Row, str]]:
        for number, line in enumerate(self.stream, start=1):
            if not line.strip():
                continue
            where = f"input={self.name}, line {number}"
            try:
                row = json.loads(line)
            except ValueError as error:
                raise UserError(f"{where}: no JSON ({error})") from error
            if not isinstance(row, dict):
                raise UserError(f'{where}: an object such as {{"text": ...}} is needed, got {line.strip()[:40]}')
            if self._keys is None:
                keys = list(row)
                self._keys = [keys[index] for index in find_text_columns(keys, None, self.name, self._usual)]
            for key in self._keys:
                if not isinstance(row.get(key), str):
                    raise UserError(
                        f"{where}: key {key!r} must hold a text, got {row.get(key)!r}; there are {', '.join(row)}"
                    )
            yield row, " ".join(row[key] for key in self._keys)


def find_text_columns(columns: Sequence[str], wanted: str | None, name: str, usual: Sequence[str] = ()) -> list[int]:
    """The indices of the columns with the text; several are joined by a blank, as in training.

    wanted: name or number from 1; None: the columns that the run was trained on (``usual``) where all of them are
    there, else one with a common name. Raises UserError where there is no such, or none looks like one.
    """
    if wanted is None:
        if usual and all(column in columns for column in usual):
            return [list(columns).index(column) for column in usual]
        plain = [column.strip().lower() for column in columns]
        found = [plain.index(candidate) for candidate in TEXT_NAMES if candidate in plain]
        if found or len(columns) == 1:
            return found[:1] or [0]
        raise UserError(
            f"input={name}: no column looks like the text; there are {', '.join(columns)}; give text_column="
        )
    if wanted in columns:
        return [list(columns).index(wanted)]
    if wanted.isdigit() and 1 <= int(wanted) <= len(columns):
        return [int(wanted) - 1]
    raise UserError(f"text_column={wanted}: input={name} has no such column; there are {', '.join(columns)}")


def open_reader(stream: IO[str], name: str, form: str, text_column: str | None, usual: Sequence[str] = ()) -> Reader:
    """The reader of format ``form``; ``text_column``, ``usual``: see `find_text_columns`."""
    if form == "jsonl":
        return JsonlReader(stream, name, text_column, usual)
    if form == "lines":
        if text_column is not None:
            raise UserError(f"text_column={text_column}: plain lines have no columns; give format=csv, tsv or jsonl")
        return LinesReader(stream)
    return TableReader(stream, name, "," if form == "csv" else "\t", text_column, usual)


class Writer:
    """Writes rows with further fields behind those they had.

    form: of the output; columns: of the input, None where it had none; added: names of the further fields, with an
    underscore behind one that the input has already.
    """

    def __init__(self, stream: IO[str], form: str, columns: Sequence[str] | None, added: Sequence[str]) -> None:
        self.stream = stream
        self.form = form
        self.columns = list(columns) if columns is not None else None
        self.added = list(added)
        self._table: Any = None

    def write(self, row: Row, values: Sequence[Any]) -> None:
        """row: as the reader gave it; values: of the further fields."""
        if self.form == "lines":
            self.stream.write("\t".join(map(_text, values)) + "\n")
        elif self.form == "jsonl":
            fields = row if isinstance(row, dict) else dict(zip(*self._fields(row), strict=True))
            record = fields | dict(zip(self._free(fields), values, strict=True))
            self.stream.write(json.dumps(record, ensure_ascii=False) + "\n")
        else:
            names, cells = self._fields(row)
            if self._table is None:
                self.columns = names
                self._table = csv.writer(
                    self.stream, delimiter="," if self.form == "csv" else "\t", lineterminator="\n"
                )
                self._table.writerow([*names, *self._free(names)])
            if names != self.columns:
                raise UserError(
                    f"a row has the keys {', '.join(names)}, the first one had {', '.join(self.columns or [])}: a "
                    "table needs the same in each; write output_format=jsonl"
                )
            self._table.writerow([*map(_text, cells), *map(_text, values)])

    def _fields(self, row: Row) -> tuple[list[str], list[Any]]:
        if isinstance(row, dict):
            return list(row), list(row.values())
        return (["text"], [row]) if isinstance(row, str) else (self.columns or [], row)

    def _free(self, taken: Container[str]) -> list[str]:
        names = []
        for name in self.added:
            while name in taken:
                name += "_"
            names.append(name)
        return names


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6f}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
