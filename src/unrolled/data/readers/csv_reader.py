"""Reader of CSV and TSV files: any delimiter, quoting, line ends and encoding, plain or gzipped, record by record."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from unrolled.data.readers.columns import LABEL_NAMES, TEXT_NAMES
from unrolled.data.readers.reader import BadRow, Place, Row, TextReader
from unrolled.data.readers.text_file import DecodingError, decoded_lines, reading
from unrolled.errors import UserError

DELIMITERS = {",": "comma", "\t": "tab", ";": "semicolon", "|": "bar"}
SAMPLE_LINES, SAMPLE_CHARACTERS = 200, 1 << 18  # from which the delimiter is told
LONGEST_FIELD = 32_000_000  # characters; a longer one is a quote that was never closed


@dataclass
class CsvReader(TextReader):
    """Records of CSV and TSV files (RFC 4180)."""

    delimiter: str | None = None  # one character, or ``tab``; None finds it
    quoting: bool = True  # whether double quotes enclose fields; if False they are characters like others
    header: bool = True  # whether the first record names the columns; if False they are numbered from 1

    def __post_init__(self) -> None:
        if self.delimiter is not None:
            self.delimiter = {"tab": "\t", "\\t": "\t"}.get(self.delimiter, self.delimiter)
            if len(self.delimiter) != 1 or self.delimiter in '"\r\n\0\ufeff':
                raise UserError(
                    f"{self.columns.prefix}delimiter must be one character other than a quote, or tab, got "
                    f"{self.delimiter!r}"
                )
        super().__post_init__()

    def rows(self, file: Path, bad_row: BadRow) -> Iterator[Row]:
        with reading(file) as stream:
            sample, lines, is_text = _sampled(decoded_lines(stream, self.encoding))
            if is_text and not any(line.strip() for line in sample):
                raise UserError(f"{file} begins with blank lines only; give a file with documents")
            delimiter = self.delimiter or _find_delimiter(sample, self.quoting)
            if delimiter is None and not (is_text and self.columns.labelled):
                delimiter = ","  # reading comes to the error and names its place; or there is a single column, the text
            if delimiter is None:
                raise UserError(
                    f"{file}: no comma, tab, semicolon or bar divides the lines into columns (the first is "
                    f"{sample[0][:60].rstrip()!r}); set {self.columns.prefix}delimiter, or check that this is a table "
                    f"with a text and a class"
                )
            yield from self._rows(_Records(self, file, lines, delimiter), bad_row, sample)

    def _rows(self, records: _Records, bad_row: BadRow, sample: list[str]) -> Iterator[Row]:
        place = records.place
        rows = iter(records)
        first = next(rows)  # there is one: the sample is not blank, or ends in an error
        names = first if self.header else [str(number + 1) for number in range(len(first))]
        where = f"{place.file}, line {place.line}"
        if len(names) < 2 and self.columns.labelled:
            raise UserError(
                f"{where}: there is one column only, {names[0][:60]!r}, with {_name(records.delimiter)} as the "
                f"delimiter; a text and a class are needed; set {self.columns.prefix}delimiter if it is another"
            )
        longest = None if self.header else _longest_column(sample, len(names), records.delimiter, self.quoting)
        texts, label, group = self.columns_read(place.file, names, where, longest, _name(records.delimiter))
        records.names = names
        if self.header:
            place.record = 0
        chosen, width = texts if label is None else [*texts, label], len(names)
        for fields in rows if self.header else chain([first], rows):
            if len(fields) != width and (len(fields) < width or any(fields[width:])):
                bad_row(place, "row with another number of fields", self._ragged(len(fields), width, records.delimiter))
                continue
            wanted = [fields[index] for index in chosen]
            if "\0" in "".join(wanted):
                column = next(names[index] for index in chosen if "\0" in fields[index])
                bad_row(
                    place,
                    "row with NUL characters",
                    f"column {column[:60]!r} contains a NUL character, so this is not plain text, or not in this "
                    f"encoding; set {self.columns.prefix}encoding (perhaps utf-16-le), or remove it",
                )
                continue
            label_text = "" if label is None else wanted.pop()
            group_text = "" if group is None else fields[group].strip()
            del fields[width:]  # empty ones
            yield Row(place, wanted, label_text, names, fields, group_text)

    def _ragged(self, fields: int, width: int, delimiter: str) -> str:
        return (
            f"it has {fields} fields where the {'header' if self.header else 'first record'} has {width}; enclose in "
            f"double quotes a field that contains {_name(delimiter)} or a line end, or set "
            f"{self.columns.prefix}delimiter, or {self.columns.prefix}quoting=false if quotes are characters like "
            f"others"
        )


class _Records:
    """Records that are not blank, with the place where each begins."""

    def __init__(self, reader: CsvReader, file: Path, lines: Iterable[str], delimiter: str) -> None:
        self.reader = reader
        self.delimiter = delimiter
        self.place = Place(file)
        self.names: list[str] = []  # of the columns, once they are known
        self.lines: list[str] = []  # of the record that is being read
        self.rows = _reader(self._remembered(lines), delimiter, reader.quoting, strict=True)

    def _remembered(self, lines: Iterable[str]) -> Iterator[str]:
        for line in lines:
            self.lines.append(line)
            yield line

    def __iter__(self) -> Iterator[list[str]]:
        place, rows, lines = self.place, self.rows, self.lines
        place.line = 1
        try:
            for row in rows:
                if row:  # the csv module makes an empty list of a blank line
                    place.record += 1
                    yield row
                lines.clear()
                place.line = rows.line_num + 1
        except csv.Error as error:
            place.record += 1
            raise UserError(self._broken_quote("".join(lines), str(error))) from error
        except DecodingError as error:
            column = self._column("".join(lines) + error.before)
            raise self.reader.undecodable(place, error, f", {column}") from error

    def _broken_quote(self, text: str, reason: str) -> str:
        if "larger than field limit" in reason and not (self.reader.quoting and '"' in text):
            return (
                f"{self.place} has more than {LONGEST_FIELD:,} characters in a line; check that this is a table, or "
                f"shorten such texts beforehand"
            )
        return (
            f"{self.place} to line {self.rows.line_num}, {self._column(text)}: a quoted field is not closed properly; "
            f'double each quote inside a quoted field (""), or set {self.reader.columns.prefix}quoting=false if '
            f"quotes are plain characters"
        )

    def _column(self, text: str) -> str:
        """The column in which an unfinished or broken record stops."""
        index = _last_field(text, self.delimiter, self.reader.quoting)
        return f"column {self.names[index][:60]!r}" if index < len(self.names) else f"field {index + 1}"


def _reader(lines: Iterable[str], delimiter: str, quoting: bool, strict: bool) -> Any:
    """The csv module's reader with a limit on fields of our own in the place of its 131,072 characters."""
    csv.field_size_limit(LONGEST_FIELD)
    mode: Any = csv.QUOTE_MINIMAL if quoting else csv.QUOTE_NONE
    return csv.reader(lines, delimiter=delimiter, quoting=mode, strict=strict)


def _sampled(lines: Iterator[str]) -> tuple[list[str], Iterable[str], bool]:
    """The first lines; all lines from the first on; and whether the first ones could be decoded."""
    sample: list[str] = []
    size = 0

    def failing(error: DecodingError) -> Iterator[str]:
        yield from sample
        raise error

    try:
        for line in lines:
            sample.append(line)
            size += len(line)
            if len(sample) >= SAMPLE_LINES or size >= SAMPLE_CHARACTERS:
                break
    except DecodingError as error:
        return sample, failing(error), False
    return sample, chain(sample, lines), True


def _find_delimiter(sample: list[str], quoting: bool) -> str | None:
    """The delimiter that divides the first records most evenly; one whose header has known names is preferred."""
    best: tuple[bool, float, int] | None = None
    found = None
    for delimiter in DELIMITERS:
        rows = _sample_rows(sample, delimiter, quoting)
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


def _sample_rows(sample: list[str], delimiter: str, quoting: bool) -> list[list[str]]:
    """The records of the sample, up to one that is too long."""
    rows: list[list[str]] = []
    with suppress(csv.Error):
        rows.extend(filter(None, _reader(sample, delimiter, quoting, strict=False)))
    return rows


def _longest_column(sample: list[str], columns: int, delimiter: str, quoting: bool) -> int:
    """The column with the most characters; of several the last."""
    sizes = [0] * columns
    for row in _sample_rows(sample, delimiter, quoting):
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
