"""Reader of plain lines: each line is a text."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from unrolled.data.readers.reader import BadRow, Place, Row, TextReader
from unrolled.errors import UserError


@dataclass
class LinesReader(TextReader):
    """Reads plain lines, which have no columns and so no class; blank lines are texts, too."""

    def __post_init__(self) -> None:
        if self.columns.text is not None:
            asked = f"{self.columns.prefix}text_column={self.columns.text}"
            raise UserError(f"{asked}: plain lines have no columns; give format=csv, tsv or jsonl")
        super().__post_init__()

    def rows(self, file: Path, bad_row: BadRow) -> Iterator[Row]:
        place = Place(file)
        for line in self.lines(place):
            place.record += 1
            text = line.rstrip("\r\n")
            yield Row(place, [text], "", ["text"], [text])
