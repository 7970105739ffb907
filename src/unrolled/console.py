"""Sentences and tables on the terminal."""

import sys
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table


def wide_console(width: int = 240) -> Console:
    """A console as wide as the terminal; where the output is a file or a pipe, of ``width`` columns."""
    return Console(width=None if sys.stdout.isatty() else width)


def say(console: Console, text: str) -> None:
    """Print ``text`` as it is: without markup, colours of numbers and line breaks."""
    console.print(text, highlight=False, markup=False, soft_wrap=True)


def plain_table(
    titles: Sequence[str], rows: Iterable[Sequence[str]], names: int = 1, frame: bool = False, **options: Any
) -> Table:
    """A table whose first ``names`` columns, and ``status``, hold words, all others numbers.

    Titles and texts are markup: what users wrote is to be escaped.
    """
    table = Table(show_edge=frame, pad_edge=frame, title_justify="left", **options)
    for number, title in enumerate(titles):
        words = number < names or title == "status"
        table.add_column(title, justify="left" if words else "right", overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def natural_width(table: Table, console: Console) -> int:
    """Columns of a terminal in which nothing of ``table`` is wrapped."""
    return table.__rich_measure__(console, console.options.update(width=10_000, max_width=10_000)).maximum
