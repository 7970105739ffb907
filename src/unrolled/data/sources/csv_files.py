"""CSV and TSV files: any delimiter, quoting, line ends, encoding, plain or gzipped, read record by record."""

from __future__ import annotations

import csv
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from unrolled.data.sources.columns import LABEL_NAMES, TEXT_NAMES, find_columns
from unrolled.data.sources.files import FileSource, Place
from unrolled.data.sources.lines import DecodingError, check_encoding, decoded_lines, reading
from unrolled.data.sources.source import Document, Notes
from unrolled.errors import UserError

log = logging.getLogger(__name__)

DELIMITERS = {",": "comma", "\t": "tab", ";": "semicolon", "|": "bar"}
SAMPLE_LINES, SAMPLE_CHARACTERS = 200, 1 << 18  # from which the delimiter is told
LONGEST_RECORD = 32_000_000  # characters; a longer one is a quote that was never closed


class CsvFiles(FileSource):
    """Tables in CSV or TSV files (RFC 4180), one record a document.

    Args:
        train, valid, test, text_column, label_column, empty, bad_rows: see `FileSource`.
        delimiter: one character, or ``tab``; None finds it.
        quoting: whether double quotes enclose fields; if False they are characters like others.
        header: whether the first record names the columns; if False they are numbered from 1.
        encoding: None finds UTF-8, UTF-16 and UTF-32; others, such as cp1252, must be named.
    """

    def __init__(
        self,
        train: str | None = None,
        valid: str | None = None,
        test: str | None = None,
        text_column: Any = None,
        label_column: Any = None,
        delimiter: str | None = None,
        quoting: bool = True,
        header: bool = True,
        encoding: str | None = None,
        empty: str = "keep",
        bad_rows: str = "stop",
    ) -> None:
        super().__init__(train, valid, test, text_column, label_column, empty, bad_rows)
        if delimiter is not None:
            delimiter = {"tab": "\t", "\\t": "\t"}.get(delimiter, delimiter)
            if len(delimiter) != 1 or delimiter in '"\r\n\0\ufeff':
                raise UserError(f"data.delimiter must be one character other than a quote, or tab, got {delimiter!r}")
        check_encoding(encoding)
        self.delimiter = delimiter
        self.quoting = quoting
        self.header = header
        self.encoding = encoding

    def settings(self) -> dict[str, Any]:
        own = {name: getattr(self, name) for name in ("delimiter", "quoting", "header", "encoding")}
        return super().settings() | own

    def documents(self, split: str, notes: Notes) -> Iterator[Document]:
        path = self.files[split]
        with reading(path) as stream:
            lines = _Lines(decoded_lines(stream, self.encoding), path)
            sample, failure = _sample(lines)
            if not any(line.strip() for line in sample) and failure is None:
                raise UserError(f"{path} begins with blank lines only; give a file with documents")
            delimiter = self.delimiter or _find_delimiter(sample, self.quoting)
            if delimiter is None and failure is not None:
                delimiter = ","  # so that reading comes to the error, and names its place
            if delimiter is None:
                raise UserError(
                    f"{path}: no comma, tab, semicolon or bar divides the lines into columns (the first is "
                    f"{_start(sample)!r}); set data.delimiter, or check that this is a table with a text and a class"
                )
            yield from self._documents(_Records(lines.again(sample, failure), delimiter, self.quoting), notes, sample)

    def _documents(self, records: _Records, notes: Notes, sample: list[str]) -> Iterator[Document]:
        place = records.place
        first = next(records)  # there is one: the sample is not blank, or ends in an error
        names = first if self.header else [str(number + 1) for number in range(len(first))]
        where = f"{place.file}, line {place.line}"
        if len(names) < 2:
            raise UserError(
                f"{where}: there is one column only, {names[0][:60]!r}, with {_name(records.delimiter)} as the "
                f"delimiter; a text and a class are needed; set data.delimiter if it is another"
            )
        if not self.header and len(names) == 2 and self.text_column is None and self.label_column is None:
            texts, label = _longer_column(sample, records.delimiter, self.quoting)
        else:
            texts, label = find_columns(names, self.text_column, self.label_column, where)
        columns = " + ".join(f"{names[index][:60]!r}" for index in texts)
        log.info(
            "%s: delimiter %s, text %s, class %r.", place.file, _name(records.delimiter), columns, names[label][:60]
        )
        records.names = names
        if self.header:
            place.record = 0
        else:
            document = self._row(first, names, texts, label, notes, records)
            if document is not None:
                yield document
        for row in records:
            document = self._row(row, names, texts, label, notes, records)
            if document is not None:
                yield document

    def _row(
        self, row: list[str], names: list[str], texts: list[int], label: int, notes: Notes, records: _Records
    ) -> Document | None:
        """The document of one record."""
        width = len(names)
        if len(row) != width and (len(row) < width or any(row[width:])):
            self.bad_row(
                notes,
                "row with another number of fields",
                records.place,
                f"it has {len(row)} fields where the {'header' if self.header else 'first record'} has {width}; "
                f"enclose in double quotes a field that contains {_name(records.delimiter)} or a line end, or set "
                f"data.delimiter, or data.quoting=false if quotes are characters like others",
            )
            return None
        if records.zeros:
            for index in (*texts, label):
                if "\0" in row[index]:
                    self.bad_row(
                        notes,
                        "row with NUL characters",
                        records.place,
                        f"column {names[index][:60]!r} contains a NUL character, so this is no plain text or not in "
                        f"this encoding; set data.encoding (perhaps utf-16-le), or remove it",
                    )
                    return None
        return self.document([row[index] for index in texts], row[label], notes, records.place)


class _Lines(Iterator[str]):
    """Lines of a file; remembers those of the record that is being read, and whether they have NUL characters."""

    def __init__(self, lines: Iterator[str], path: Path) -> None:
        self.lines = lines
        self.path = path
        self.number = 0  # lines so far
        self.current: list[str] = []
        self.size = 0
        self.zeros = False

    def again(self, sample: list[str], failure: DecodingError | None) -> _Lines:
        """These lines once more from the start, given those already taken."""

        def replay() -> Iterator[str]:
            yield from sample
            if failure is not None:
                raise failure
            yield from self.lines

        return _Lines(replay(), self.path)

    def __next__(self) -> str:
        line = next(self.lines)
        if self.number == 0:
            line = line.removeprefix("\ufeff")  # a byte order mark, where the encoding was given without it
        self.number += 1
        self.current.append(line)
        self.size += len(line)
        if self.size > LONGEST_RECORD:
            raise csv.Error("record too long")
        if "\0" in line:
            self.zeros = True
        return line


class _Records(Iterator[list[str]]):
    """Records that are not blank, with the place where each begins."""

    def __init__(self, lines: _Lines, delimiter: str, quoting: bool) -> None:
        self.lines = lines
        self.delimiter = delimiter
        self.quoting = quoting
        self.place = Place(lines.path)
        self.names: list[str] = []  # of the columns, once they are known
        self.rows = _reader(lines, delimiter, quoting, strict=True)

    @property
    def zeros(self) -> bool:
        """Whether the record has NUL characters."""
        return self.lines.zeros

    def __next__(self) -> list[str]:
        lines = self.lines
        row: list[str] = []
        while not row:  # the csv module makes an empty list of a blank line
            lines.current.clear()
            lines.size = 0
            lines.zeros = False
            self.place.line = lines.number + 1
            try:
                row = next(self.rows)
            except csv.Error as error:
                self.place.record += 1
                raise UserError(self._broken_quote()) from error
            except DecodingError as error:
                self.place.record += 1
                raise UserError(
                    f"{self.place.file}, record {self.place.record} (line {error.line}), "
                    f"{self._column(''.join(lines.current) + error.before)}: {error}; "
                    f"set data.encoding to the file's encoding (often cp1252 or latin-1), or save it as UTF-8"
                ) from error
        self.place.record += 1
        return row

    def _broken_quote(self) -> str:
        text = "".join(self.lines.current)
        if self.lines.size > LONGEST_RECORD and not (self.quoting and '"' in text):
            return (
                f"{self.place} has more than {LONGEST_RECORD:,} characters in a line; check that this is a table, or "
                f"cut such texts before"
            )
        return (
            f"{self.place} to line {self.lines.number}, {self._column(text)}: a quoted field is not closed properly; "
            f'double each quote inside a quoted field (""), or set data.quoting=false if quotes are plain characters'
        )

    def _column(self, text: str) -> str:
        """The column in which an unfinished or broken record stops."""
        index = _last_field(text, self.delimiter, self.quoting)
        return f"column {self.names[index][:60]!r}" if index < len(self.names) else f"field {index + 1}"


def _reader(lines: Iterator[str], delimiter: str, quoting: bool, strict: bool) -> Iterator[list[str]]:
    """The csv module's reader without its limit of 131,072 characters a field."""
    csv.field_size_limit(2 * LONGEST_RECORD)
    mode: Any = csv.QUOTE_MINIMAL if quoting else csv.QUOTE_NONE
    return csv.reader(lines, delimiter=delimiter, quoting=mode, strict=strict)


def _sample(lines: _Lines) -> tuple[list[str], DecodingError | None]:
    """The first lines, and the error that ended them."""
    sample: list[str] = []
    try:
        for line in lines:
            sample.append(line)
            if len(sample) >= SAMPLE_LINES or lines.size >= SAMPLE_CHARACTERS:
                break
    except DecodingError as error:
        return sample, error
    except csv.Error:  # one line longer than any record may be: reading it again says so
        return [*sample, *lines.current[len(sample) :]], None
    return sample, None


def _find_delimiter(sample: list[str], quoting: bool) -> str | None:
    """The delimiter that divides the first records most evenly; one whose header has known names is preferred."""
    best: tuple[bool, float, int] | None = None
    found = None
    for delimiter in DELIMITERS:
        try:
            rows = [row for row in _reader(iter(sample), delimiter, quoting, strict=False) if row]
        except csv.Error:
            continue
        if len(rows) > 2:
            rows.pop()  # perhaps cut short by the end of the sample
        if not rows or len(rows[0]) < 2:
            continue
        known = any(name.strip().lower() in (*TEXT_NAMES, *LABEL_NAMES) for name in rows[0])
        even = sum(len(row) == len(rows[0]) for row in rows) / len(rows)
        score = (known, even, len(rows[0]))
        if best is None or score > best:
            best, found = score, delimiter
    return found


def _longer_column(sample: list[str], delimiter: str, quoting: bool) -> tuple[list[int], int]:
    """Of two columns without names the one with more characters is the text."""
    sizes = [0, 0]
    for row in _reader(iter(sample), delimiter, quoting, strict=False):
        if len(row) == 2:
            sizes = [sizes[0] + len(row[0]), sizes[1] + len(row[1])]
    return ([0], 1) if sizes[0] > sizes[1] else ([1], 0)


def _last_field(text: str, delimiter: str, quoting: bool) -> int:
    """The number (from 0) of the field in which a record ends or its quoting breaks."""
    field = position = 0
    while True:
        if quoting and text.startswith('"', position):
            position += 1
            while (quote := text.find('"', position)) != -1 and text.startswith('"', quote + 1):
                position = quote + 2
            if quote == -1 or not text.startswith(delimiter, quote + 1):
                return field
            position = quote + 2
        else:
            end = text.find(delimiter, position)
            if end == -1:
                return field
            position = end + 1
        field += 1


def _name(delimiter: str) -> str:
    return f"a {DELIMITERS[delimiter]}" if delimiter in DELIMITERS else repr(delimiter)


def _start(sample: list[str]) -> str:
    return sample[0][:60].rstrip("\r\n") if sample else ""
