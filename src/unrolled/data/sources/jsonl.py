"""JSON lines: one object a line, one document an object."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

from unrolled.data.sources.columns import find_columns
from unrolled.data.sources.files import FileSource, Place
from unrolled.data.sources.lines import DecodingError, check_encoding, decoded_lines, reading
from unrolled.data.sources.source import Document, Notes
from unrolled.errors import UserError

log = logging.getLogger(__name__)


class JsonlFiles(FileSource):
    """Files with a JSON object on each line; its keys are the columns.

    Strings are taken as they are, numbers and truth values as JSON writes them, null as missing.

    Args:
        train, valid, test, text_column, label_column, empty, bad_rows: see `FileSource`.
        encoding: None finds UTF-8, UTF-16 and UTF-32.
    """

    def __init__(
        self,
        train: str | None = None,
        valid: str | None = None,
        test: str | None = None,
        text_column: Any = None,
        label_column: Any = None,
        encoding: str | None = None,
        empty: str = "keep",
        bad_rows: str = "stop",
    ) -> None:
        super().__init__(train, valid, test, text_column, label_column, empty, bad_rows)
        check_encoding(encoding)
        self.encoding = encoding

    def settings(self) -> dict[str, Any]:
        return super().settings() | {"encoding": self.encoding}

    def documents(self, split: str, notes: Notes) -> Iterator[Document]:
        place = Place(self.files[split])
        columns: tuple[list[str], str] | None = None
        with reading(place.file) as stream:
            lines = decoded_lines(stream, self.encoding)
            try:
                for place.line, line in enumerate(lines, start=1):
                    if not line.strip():
                        continue
                    place.record += 1
                    row = self._object(line, place, notes)
                    if row is None:
                        continue
                    if columns is None:
                        names = list(row)
                        texts, label = find_columns(names, self.text_column, self.label_column, str(place))
                        columns = [names[index] for index in texts], names[label]
                        log.info("%s: text %s, class %r.", place.file, " + ".join(map(repr, columns[0])), columns[1])
                    document = self._row(row, *columns, notes, place)
                    if document is not None:
                        yield document
            except DecodingError as error:
                raise UserError(
                    f"{place.file}, record {place.record + 1} (line {error.line}): {error}; set data.encoding to the "
                    f"file's encoding, or save it as UTF-8"
                ) from error

    def _object(self, line: str, place: Place, notes: Notes) -> dict[str, Any] | None:
        try:
            value = json.loads(line.removeprefix("\ufeff"))
        except json.JSONDecodeError as error:
            self.bad_row(
                notes,
                "row that is no JSON",
                place,
                f"it is no JSON object ({error.msg.removesuffix(' at')} at character {error.pos + 1}); mend it",
            )
            return None
        except (ValueError, RecursionError) as error:  # a number of thousands of digits; a thousand brackets
            self.bad_row(notes, "row that is no JSON", place, f"it cannot be read as JSON ({str(error)[:80]}); mend it")
            return None
        if not isinstance(value, dict) or not value:
            kind = "a list" if isinstance(value, list) else "empty" if isinstance(value, dict) else "a bare value"
            self.bad_row(
                notes,
                "row that is no object",
                place,
                f'it is {kind}; each line must be an object as {{"text": ..., "label": ...}}',
            )
            return None
        return value

    def _row(self, row: dict[str, Any], texts: list[str], label: str, notes: Notes, place: Place) -> Document | None:
        values = []
        for name in (*texts, label):
            if name not in row:
                self.bad_row(
                    notes,
                    "row without a key",
                    place,
                    f"key {name!r} is missing; it has {', '.join(map(repr, row))[:120]}; add it",
                )
                return None
            value = row[name]
            if isinstance(value, dict | list):
                self.bad_row(
                    notes,
                    "row with nested values",
                    place,
                    f"key {name!r} holds {type(value).__name__}, not text; give a text",
                )
                return None
            values.append(plain(value))
        return self.document(values[:-1], values[-1], notes, place)


def plain(value: Any) -> str:
    """A value of a table as text: strings as they are, None as nothing, others as JSON writes them.

    Halves of characters outside the basic plane (lone surrogates, which JSON can write and UTF-8 cannot) are replaced.
    """
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if value is None:
        return ""
    return json.dumps(value) if isinstance(value, bool | int | float) else str(value)
