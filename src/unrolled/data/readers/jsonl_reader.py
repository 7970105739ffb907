"""Reader of JSON lines: one object a line, its keys are the columns."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unrolled.data.readers.reader import BadRow, Place, Row, TextReader, plain


@dataclass
class JsonlReader(TextReader):
    """Reads JSON objects: strings as they are, numbers and truth values as JSON writes them, null as nothing.

    The keys of the first object are the columns.
    """

    def rows(self, file: Path, bad_row: BadRow) -> Iterator[Row]:
        place = Place(file)
        wanted: list[str] = []  # keys of the texts, and of the class behind them
        group = None
        for line in self.lines(place):
            if line.isspace():
                continue
            place.record += 1
            fields = _object(line, place, bad_row)
            if fields is None:
                continue
            if not wanted:
                names = list(fields)
                texts, label, group_index = self.columns_read(file, names, str(place))
                group = None if group_index is None else names[group_index]
                wanted = [names[index] for index in (texts if label is None else [*texts, label])]
            values = []
            for key in wanted:
                value = fields.get(key)
                if isinstance(value, dict | list):
                    kind = type(value).__name__
                    bad_row(place, "row with nested values", f"key {key!r} holds {kind}, not text; give a text")
                    break
                if value is None and key not in fields:
                    there = ", ".join(map(repr, fields))[:120]
                    bad_row(place, "row without a key", f"key {key!r} is missing; it has {there}; add it")
                    break
                values.append(plain(value))
            else:
                label_text = values.pop() if label is not None else ""
                group_text = plain(fields.get(group)).strip() if group is not None else ""
                yield Row(place, values, label_text, fields.keys(), fields.values(), group_text)


def _object(line: str, place: Place, bad_row: BadRow) -> dict[str, Any] | None:
    """The object of a line, None where there is none."""
    try:
        value = json.loads(line)
    except json.JSONDecodeError as error:
        reason = f"{error.msg.removesuffix(' at')} at character {error.pos + 1}"
        bad_row(place, "row that is not JSON", f"it is no JSON object ({reason}); correct it")
        return None
    except (ValueError, RecursionError) as error:  # a number of thousands of digits; a thousand brackets
        bad_row(place, "row that is not JSON", f"it cannot be read as JSON ({str(error)[:80]}); correct it")
        return None
    if isinstance(value, dict) and value:
        return value
    kind = "a list" if isinstance(value, list) else "empty" if isinstance(value, dict) else "a bare value"
    message = f'it is {kind}; each line must be an object as {{"text": ..., "label": ...}}'
    bad_row(place, "row that is not an object", message)
    return None
