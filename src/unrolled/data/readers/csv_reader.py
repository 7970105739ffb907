"""Reader of CSV and TSV files: any delimiter, quoting, line ends and encoding, plain or gzipped, record by record."""

from __future__ import annotations

import csv
import logging
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from unrolled.data.readers.columns import LABEL_NAMES, TEXT_NAMES, Columns
from unrolled.data.readers.reader import BadRow, Place, Reader, Row
from unrolled.data.readers.text_file import DecodingError, check_encoding, decoded_lines, reading
from unrolled.errors import UserError

log = logging.getLogger(__name__)

DELIMITERS = {",": "comma", "\t": "tab", ";": "semicolon", "|": "bar"}
SAMPLE_LINES, SAMPLE_CHARACTERS = 200, 1 << 18  # from which the delimiter is told
LONGEST_RECORD = 32_000_000  # characters; a longer one is a quote that was never closed


class CsvReader(Reader):
    """Records of CSV and TSV files (RFC 4180).

    Args:
        columns: that are asked for.
        delimiter: one character, or ``tab``; None finds it.
        quoting: whether double quotes enclose fields; if False they are characters like others.
        header: whether the first record names the columns; if False they are numbered from 1.
        encoding: None finds UTF-8, UTF-16 and UTF-32; others, such as cp1252, must be named.
    """

    KEYS = ("delimiter", "quoting", "header", "encoding")

    def __init__(
        self,
        columns: Columns,
        delimiter: str | None = None,
        quoting: bool = True,
        header: bool = True,
        encoding: str | None = None,
    ) -> None:
        super().__init__(columns)
        if delimiter is not None:
            delimiter = {"tab": "\t", "\\t": "\t"}.get(delimiter, delimiter)
            if len(delimiter) != 1 or delimiter in '"\r\n\0\ufeff':
                raise UserError(
                    f"{columns.prefix}delimiter must be one character other than a quote, or tab, got {delimiter!r}"
                )
        check_encoding(encoding, columns.prefix)
        self.delimiter = delimiter
        self.quoting = quoting
        self.header = header
        self.encoding = encoding

    def rows(self, file: Path, bad_row: BadRow) -> Iterator[Row]:
        with reading(file) as stream:
            lines = _Lines(decoded_lines(stream, self.encoding))
            sample, failure = _sample(lines)
            if not any(line.strip() for line in sample) and failure is None:
                raise UserError(f"{file} begins with blank lines only; give a file with documents")
            delimiter = self.delimiter or _find_delimiter(sample, self.quoting)
            if delimiter is None and (failure is not None or not self.columns.labelled):
                delimiter = ","  # reading comes to the error and names its place; or there is a single column, the text
            if delimiter is None:
                raise UserError(
                    f"{file}: no comma, tab, semicolon or bar divides the lines into columns (the first is "
                    f"{_start(sample)!r}); set {self.columns.prefix}delimiter, or check that this is a table with a "
                    f"text and a class"
                )
            yield from self._rows(_Records(self, file, lines.again(sample, failure), delimiter), bad_row, sample)

    def _rows(self, records: _Records, bad_row: BadRow, sample: list[str]) -> Iterator[Row]:
        place = records.place
        first = next(records)  # there is one: the sample is not blank, or ends in an error
        names = first if self.header else [str(number + 1) for number in range(len(first))]
        where = f"{place.file}, line {place.line}"
        if len(names) < 2 and self.columns.labelled:
            raise UserError(
                f"{where}: there is one column only, {names[0][:60]!r}, with {_name(records.delimiter)} as the "
                f"delimiter; a text and a class are needed; set {self.columns.prefix}delimiter if it is another"
            )
        longest = None if self.header else _longest_column(sample, len(names), records.delimiter, self.quoting)
        texts, label = self.columns.find(names, where, longest)
        group = self.columns.find_group(names, where)
        log.info(
            "%s: delimiter %s, text %s, class %r.",
            place.file,
            _name(records.delimiter),
            " + ".join(f"{names[index][:60]!r}" for index in texts),
            None if label is None else names[label][:60],
        )
        records.names = names
        chosen = texts if label is None else [*texts, label]
        if self.header:
            place.record = 0
        for fields in records if self.header else chain([first], records):
            if self._usable(fields, chosen, records, bad_row):
                del fields[len(names) :]  # empty ones behind the last column
                label_text = "" if label is None else fields[label]
                group_text = "" if group is None else fields[group].strip()
                yield Row(place, [fields[index] for index in texts], label_text, names, fields, group_text)

    def _usable(self, fields: list[str], chosen: list[int], records: _Records, bad_row: BadRow) -> bool:
        """Whether a record has the right number of fields, and texts in those that are wanted."""
        names, prefix, width = records.names, self.columns.prefix, len(records.names)
        if len(fields) != width and (len(fields) < width or any(fields[width:])):
            bad_row(
                records.place,
                "row with another number of fields",
                f"it has {len(fields)} fields where the {'header' if self.header else 'first record'} has {width}; "
                f"enclose in double quotes a field that contains {_name(records.delimiter)} or a line end, or set "
                f"{prefix}delimiter, or {prefix}quoting=false if quotes are characters like others",
            )
            return False
        if records.lines.zeros:
            for index in chosen:
                if "\0" in fields[index]:
                    bad_row(
                        records.place,
                        "row with NUL characters",
                        f"column {names[index][:60]!r} contains a NUL character, so this is no plain text or not in "
                        f"this encoding; set {prefix}encoding (perhaps utf-16-le), or remove it",
                    )
                    return False
        return True


class _Lines(Iterator[str]):
    """Lines of a file; remembers those of the record that is being read, and whether they have NUL characters."""

    def __init__(self, lines: Iterator[str]) -> None:
        self.lines = lines
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

        return _Lines(replay())

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

    def __init__(self, reader: CsvReader, file: Path, lines: _Lines, delimiter: str) -> None:
        self.reader = reader
        self.lines = lines
        self.delimiter = delimiter
        self.place = Place(file)
        self.names: list[str] = []  # of the columns, once they are known
        self.rows = _reader(lines, delimiter, reader.quoting, strict=True)

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
                column = self._column("".join(lines.current) + error.before)
                raise self.reader.undecodable(self.place, error, f", {column}") from error
        self.place.record += 1
        return row

    def _broken_quote(self) -> str:
        text = "".join(self.lines.current)
        if self.lines.size > LONGEST_RECORD and not (self.reader.quoting and '"' in text):
            return (
                f"{self.place} has more than {LONGEST_RECORD:,} characters in a line; check that this is a table, or "
                f"cut such texts before"
            )
        return (
            f"{self.place} to line {self.lines.number}, {self._column(text)}: a quoted field is not closed properly; "
            f'double each quote inside a quoted field (""), or set {self.reader.columns.prefix}quoting=false if '
            f"quotes are plain characters"
        )

    def _column(self, text: str) -> str:
        """The column in which an unfinished or broken record stops."""
        index = _last_field(text, self.delimiter, self.reader.quoting)
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


def _longest_column(sample: list[str], columns: int, delimiter: str, quoting: bool) -> int:
    """The column with the most characters; of several the last."""
    sizes = [0] * columns
    for row in _reader(iter(sample), delimiter, quoting, strict=False):
        if len(row) == columns:
            sizes = [size + len(field) for size, field in zip(sizes, row, strict=True)]
    return max(range(columns), key=lambda index: (sizes[index], index))


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
