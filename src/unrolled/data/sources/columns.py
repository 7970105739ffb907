"""Which columns of a table hold the text and the class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from unrolled.errors import UserError

#: Names that columns commonly have, the likeliest first; compared without case and blanks.
TEXT_NAMES = (
    "text", "document", "content", "review", "review_text", "reviewtext", "sentence", "body", "message", "tweet",
    "comment", "comment_text", "article", "abstract", "description", "question", "sms", "title",
)  # fmt: skip
LABEL_NAMES = (
    "label", "labels", "class", "category", "target", "sentiment", "topic", "y", "rating", "stars", "score", "polarity",
    "intent", "emotion", "genre", "tag", "author", "language", "type",
)  # fmt: skip

Column = str | int | None


def check_column(key: str, value: Any, several: bool) -> None:
    """Refuse a column that is neither a name nor a number from 1, nor (``several``) a list of such."""
    one_by_one = value if several and isinstance(value, list | tuple) else [value]
    for column in one_by_one:
        is_number = isinstance(column, int) and not isinstance(column, bool) and column >= 1
        if not (is_number or isinstance(column, str) or (column is None and one_by_one is not value)):
            form = "a name, a number from 1, or a list of them" if several else "a name or a number from 1"
            raise UserError(f"data.{key} must be {form}, got {value!r}")
    if not one_by_one:
        raise UserError(f"data.{key} must name at least one column, got an empty list")


def find_columns(names: Sequence[str], text_column: Any, label_column: Any, where: str) -> tuple[list[int], int]:
    """The indices of the text columns and of the label column.

    Args:
        names: of all columns, as the file has them.
        text_column: name, number from 1, list of them, or None to find it by a common name.
        label_column: name, number from 1, or None to find it by a common name.
        where: file and record, for messages.

    Raises:
        UserError: no such column, several of that name, or none that looks like it.
    """
    label = None if label_column is None else _index(names, label_column, "label_column", where)
    texts = None
    if text_column is not None:
        wanted = text_column if isinstance(text_column, list | tuple) else [text_column]
        texts = [_index(names, column, "text_column", where) for column in wanted]
    if label is None:
        label = _common(names, LABEL_NAMES, texts or [], where)
    if texts is None:
        text = _common(names, TEXT_NAMES, [] if label is None else [label], where)
        texts = None if text is None else [text]
    if len(names) == 2:  # one known, so the other is known
        if texts is None and label is not None:
            texts = [1 - label]
        elif label is None and texts is not None and len(texts) == 1:
            label = 1 - texts[0]
    if texts is None or label is None:
        missing = [
            f"{what} (data.{key})"
            for what, key, found in (("text", "text_column", texts), ("class", "label_column", label))
            if found is None
        ]
        raise UserError(
            f"{where}: no column looks like the {' or the '.join(missing)}; the columns are {_listed(names)}; set "
            f"data.text_column and data.label_column to a name or a number from 1 (a CSV file without a header line "
            f"needs data.header=false)"
        )
    if label in texts:
        raise UserError(
            f"{where}: column {names[label]!r} is both text and class; set data.text_column and data.label_column to "
            f"different columns of {_listed(names)}"
        )
    return texts, label


def _index(names: Sequence[str], column: str | int, key: str, where: str) -> int:
    """Where the column lies that the user asked for."""
    if isinstance(column, int) and column <= len(names):
        return column - 1
    asked = str(column).strip()
    found = [index for index, name in enumerate(names) if name == column or name.strip() == asked]
    if len(found) == 1:
        return found[0]
    if found:
        raise UserError(
            f"{where}: {len(found)} columns are called {asked!r} (numbers {_numbers(found)}); rename one, or set "
            f"data.{key} to the number of the right one"
        )
    raise UserError(f"{where}: there is no column data.{key}={column}; the columns are {_listed(names)}")


def _common(names: Sequence[str], known: Sequence[str], taken: Sequence[int], where: str) -> int | None:
    """The column with the likeliest of the common names."""
    plain = [name.strip().lower() for name in names]
    for candidate in known:
        found = [index for index, name in enumerate(plain) if name == candidate and index not in taken]
        if len(found) > 1:
            raise UserError(
                f"{where}: {len(found)} columns are called {candidate!r} (numbers {_numbers(found)}); rename one, or "
                f"set data.text_column and data.label_column to the numbers of the right ones"
            )
        if found:
            return found[0]
    return None


def _numbers(indices: Sequence[int]) -> str:
    return " and ".join(str(index + 1) for index in indices)


def _listed(names: Sequence[str], most: int = 20) -> str:
    """The names of the columns, shortened to fit a message."""
    shown = ", ".join(repr(name if len(name) <= 40 else name[:37] + "...") for name in names[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")
