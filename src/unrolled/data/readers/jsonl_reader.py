"""Reader of JSON lines: one object a line, its keys are the columns."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from unrolled.data.readers.columns import Columns
from unrolled.data.readers.reader import BadRow, Place, Reader, Row, plain
from unrolled.data.readers.text_file import DecodingError, check_encoding, decoded_lines, reading

log = logging.getLogger(__name__)


class JsonlReader(Reader):
    """Strings are taken as they are, numbers and truth values as JSON writes them, null as nothing.

    Args:
        columns: that are asked for, of the first object's keys.
        encoding: None finds UTF-8, UTF-16 and UTF-32.
    """

    KEYS = ("encoding",)

    def __init__(self, columns: Columns, encoding: str | None = None) -> None:
        super().__init__(columns)
        check_encoding(encoding, columns.prefix)
        self.encoding = encoding

    def rows(self, file: Path, bad_row: BadRow) -> Iterator[Row]:
        place = Place(file)
        keys: tuple[list[str], str | None] | None = None
        group: str | None = None
        with reading(file) as stream:
            try:
                for place.line, line in enumerate(decoded_lines(stream, self.encoding), start=1):
                    if not line.strip():
                        continue
                    place.record += 1
                    fields = _object(line, place, bad_row)
                    if fields is None:
                        continue
                    if keys is None:
                        names = list(fields)
                        texts, label = self.columns.find(names, str(place))
                        group_index = self.columns.find_group(names, str(place))
                        group = None if group_index is None else names[group_index]
                        keys = [names[index] for index in texts], None if label is None else names[label]
                        log.info("%s: text %s, class %r.", file, " + ".join(map(repr, keys[0])), keys[1])
                    wanted = keys[0] if keys[1] is None else [*keys[0], keys[1]]
                    if _usable(fields, wanted, place, bad_row):
                        values = [plain(fields[key]) for key in wanted]
                        label_text = "" if keys[1] is None else values.pop()
                        group_text = "" if group is None else plain(fields.get(group)).strip()
                        yield Row(place, values, label_text, list(fields), list(fields.values()), group_text)
            except DecodingError as error:
                raise self.undecodable(place, error) from error


def _object(line: str, place: Place, bad_row: BadRow) -> dict[str, Any] | None:
    """The object of a line, None where there is none."""
    try:
        value = json.loads(line.removeprefix("\ufeff"))
    except json.JSONDecodeError as error:
        reason = f"{error.msg.removesuffix(' at')} at character {error.pos + 1}"
        bad_row(place, "row that is no JSON", f"it is no JSON object ({reason}); mend it")
        return None
    except (ValueError, RecursionError) as error:  # a number of thousands of digits; a thousand brackets
        bad_row(place, "row that is no JSON", f"it cannot be read as JSON ({str(error)[:80]}); mend it")
        return None
    if not isinstance(value, dict) or not value:
        kind = "a list" if isinstance(value, list) else "empty" if isinstance(value, dict) else "a bare value"
        message = f'it is {kind}; each line must be an object as {{"text": ..., "label": ...}}'
        bad_row(place, "row that is no object", message)
        return None
    return value


def _usable(fields: dict[str, Any], wanted: list[str], place: Place, bad_row: BadRow) -> bool:
    """Whether an object has plain values under all keys that are wanted."""
    for key in wanted:
        if key not in fields:
            there = ", ".join(map(repr, fields))[:120]
            bad_row(place, "row without a key", f"key {key!r} is missing; it has {there}; add it")
            return False
        if isinstance(fields[key], dict | list):
            kind = type(fields[key]).__name__
            bad_row(place, "row with nested values", f"key {key!r} holds {kind}, not text; give a text")
            return False
    return True
