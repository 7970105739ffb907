"""The base class of the readers of all file formats: rows one at a time, each with the place where it stands."""

import json
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from unrolled.data.readers.columns import Columns
from unrolled.data.readers.text_file import DecodingError, check_encoding, decoded_lines, reading
from unrolled.errors import UserError

log = logging.getLogger(__name__)


@dataclass
class Place:
    """A row of a file; turned into words only when something is wrong there."""

    file: Path
    record: int = 0  # from 1, the header not counted
    line: int = 0  # from 1, where the record begins; 0 where a format has no lines

    def __str__(self) -> str:
        return f"{self.file}, record {self.record}" + (f" (line {self.line})" if self.line else "")


class Row(NamedTuple):
    place: Place  # where it stands; the reader goes on to change it when the next row is asked for
    texts: Sequence[str]  # of the columns with text
    label: str  # of the column with the class; empty where none is read
    names: Collection[str]  # of all columns
    fields: Collection[Any]  # of all columns, as the file has them
    group: str = ""  # of the column with the group; empty where none is asked for


#: Called with the place, the kind and the message of a row that cannot be used; raises, or returns to leave it out.
BadRow = Callable[[Place, str, str], None]


@dataclass
class Reader(ABC):
    """Reads tables of one file format; training and prediction use the same.

    The fields of a subclass are its settings, which are keys of the configuration, too.
    """

    columns: Columns  # that are asked for

    @classmethod
    def setting_names(cls) -> list[str]:
        return [each.name for each in fields(cls)[1:]]

    def columns_read(
        self, file: Path, names: Sequence[str], where: str, longest: int | None = None, delimiter: str = ""
    ) -> tuple[list[int], int | None, int | None]:
        """Indices of the columns of text, class and group, which are logged. ``where``, ``longest``: see `Columns`."""
        texts, label = self.columns.find(names, where, longest)
        group = self.columns.find_group(names, where)
        _log_columns(file, tuple(names[index] for index in texts), None if label is None else names[label], delimiter)
        return texts, label, group

    @abstractmethod
    def rows(self, file: Path, bad_row: BadRow) -> Iterator[Row]:
        """The rows of ``file`` (`STANDARD_INPUT` for a pipe), one at a time.

        Raises:
            UserError: the file is not of this format, or lacks the columns.
        """


@dataclass
class TextReader(Reader):
    """Reads tables in text files, plain or gzipped."""

    encoding: str | None = None  # None finds UTF-8, UTF-16 and UTF-32; others, such as cp1252, must be named

    def __post_init__(self) -> None:
        check_encoding(self.encoding, self.columns.prefix)

    def lines(self, place: Place) -> Iterator[str]:
        """The lines of the file, numbered in ``place``."""
        with reading(place.file) as stream:
            try:
                for place.line, line in enumerate(decoded_lines(stream, self.encoding), start=1):
                    yield line
            except DecodingError as error:
                raise self.undecodable(place, error) from error

    def undecodable(self, place: Place, error: DecodingError, column: str = "") -> UserError:
        """The message about bytes in the record after ``place`` that are no text."""
        return UserError(
            f"{place.file}, record {place.record + 1} (line {error.line}){column}: {error}; set "
            f"{self.columns.prefix}encoding to the file's encoding (often cp1252 or latin-1), or save it as UTF-8"
        )


@cache
def _log_columns(file: Path, texts: tuple[str, ...], label: str | None, delimiter: str) -> None:
    """Log how a file is read: once, although it is read several times, and for every job of a sweep."""
    parts = [f"delimiter {delimiter}"] if delimiter else []
    parts += [f"text {' + '.join(repr(name[:60]) for name in texts)}"]
    parts += [] if label is None else [f"class {label[:60]!r}"]
    log.info("%s: %s.", file, ", ".join(parts))


def plain(value: Any) -> str:
    """A value of a table as text: strings as they are, None as nothing, others as JSON writes them.

    Halves of characters outside the basic plane (lone surrogates, which JSON can write and UTF-8 cannot) are replaced.
    """
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if value is None:
        return ""
    return json.dumps(value) if isinstance(value, bool | int | float) else str(value)
