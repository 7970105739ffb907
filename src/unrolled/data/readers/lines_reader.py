"""Reader of plain lines: each line is a text."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from unrolled.data.readers.columns import Columns
from unrolled.data.readers.reader import BadRow, Place, Reader, Row
from unrolled.data.readers.text_file import DecodingError, check_encoding, decoded_lines, reading
from unrolled.errors import UserError


class LinesReader(Reader):
    """Lines have no columns, and so no class; blank lines are texts, too.

    Args:
        columns: nothing may be asked for.
        encoding: None finds UTF-8, UTF-16 and UTF-32.
    """

    KEYS = ("encoding",)

    def __init__(self, columns: Columns, encoding: str | None = None) -> None:
        super().__init__(columns)
        if columns.text is not None:
            asked = f"{columns.prefix}text_column={columns.text}"
            raise UserError(f"{asked}: plain lines have no columns; give format=csv, tsv or jsonl")
        check_encoding(encoding, columns.prefix)
        self.encoding = encoding

    def rows(self, file: Path, bad_row: BadRow) -> Iterator[Row]:
        place = Place(file)
        names = ["text"]
        with reading(file) as stream:
            try:
                for line in decoded_lines(stream, self.encoding):
                    place.record = place.line = place.record + 1
                    text = (line.removeprefix("\ufeff") if place.line == 1 else line).rstrip("\r\n")
                    yield Row(place, [text], "", names, [text])
            except DecodingError as error:
                raise self.undecodable(place, error) from error
