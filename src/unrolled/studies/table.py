"""Table of a study, for the terminal and for its README."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from unrolled.compare.report import markdown_table
from unrolled.console import plain_table, wide_console
from unrolled.errors import UserError
from unrolled.files import write_atomically

BEGIN, END = "<!-- table -->", "<!-- end of table -->"


@dataclass(frozen=True)
class StudyTable:
    """Rows of text; the first ``names`` columns name a row, the others hold its figures."""

    header: Sequence[str]
    lines: Sequence[Sequence[str]]
    names: int = 1

    def show(self) -> None:
        """Print the table, in full width where the output is no terminal."""
        wide_console(180).print(plain_table(self.header, self.lines, self.names, frame=True))

    def markdown(self) -> str:
        return markdown_table(self.header, self.lines, self.names)


def spread(values: Sequence[float], digits: int = 1) -> str:
    """Mean, and in parentheses the range of the values."""
    return f"{statistics.mean(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def write_between_marks(readme: Path, body: str) -> None:
    """Replace the text between the marks in ``readme``; a missing file is created with nothing but the marks.

    Raises UserError where the file has no marks.
    """
    text = readme.read_text(encoding="utf-8") if readme.is_file() else f"{BEGIN}\n{END}\n"
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise UserError(f"{readme} has no line {BEGIN} with a line {END} after it, between which the table is written")
    write_atomically(readme, f"{before}{BEGIN}\n\n{body}\n\n{END}{after}")
