"""Columns of a table: which of them hold the text and the class."""

from collections.abc import Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Columns:
    """The columns that are asked for; those that are not are found by their names.

    Raises:
        UserError: a column is neither a name nor a number from 1, nor, for the text, a list of such.
    """

    text: Any = None  # name, number from 1, or a list of them, whose texts are joined; None: a common name
    label: Any = None  # name or number from 1; None: a common name
    group: Any = None  # name or number from 1 of the column whose value documents of one group share; None: no groups
    labelled: bool = True  # whether a class is needed; prediction does without
    usual: tuple[str, ...] = ()  # columns of text to take, where none is asked for and all of these are there
    usual_label: str | None = None  # the column of the class to take, where none is asked for and this is there
    prefix: str = "data."  # what stands before the names of keys in messages: nothing on predict.py's command line

    def __post_init__(self) -> None:
        for key, value in (("text_column", self.text), ("label_column", self.label), ("group_column", self.group)):
            several = key == "text_column"
            one_by_one = _listed(value) if several else [value]
            for column in one_by_one:
                is_number = isinstance(column, int) and not isinstance(column, bool) and column >= 1
                if not (is_number or isinstance(column, str) or value is None):
                    form = "a name, a number from 1, or a list of them" if several else "a name or a number from 1"
                    raise UserError(f"{self.prefix}{key} must be {form}, got {value!r}")
            if not one_by_one:
                raise UserError(f"{self.prefix}{key} must name at least one column, got an empty list")

    def find(self, names: Sequence[str], where: str, longest: int | None = None) -> tuple[list[int], int | None]:
        """The indices of the columns of text and of the column of the class (None where none is needed).

        Args:
            names: of all columns, as the file has them.
            where: file and record, for messages.
            longest: index of the column with the most characters, in a file without names; of two columns it is the
                text, unless something is asked for.

        Raises:
            UserError: no such column, several of that name, or none that looks like it.
        """
        text, asked, label = self.text, self.label, None
        if text is None and self.usual and all(names.count(name) == 1 for name in self.usual):
            text = self.usual
        if asked is None and names.count(self.usual_label) == 1:
            asked = self.usual_label
        if longest is not None and len(names) == 2 and text is None and asked is None:
            return [longest], 1 - longest
        if asked is not None:
            label = self._index(names, asked, "label_column", where)
        texts = None
        if text is not None:
            texts = [self._index(names, column, "text_column", where) for column in _listed(text)]
        if label is None and self.labelled:
            label = self._common(names, LABEL_NAMES, texts or [], where)
        if texts is None:
            found = self._common(names, TEXT_NAMES, [] if label is None else [label], where)
            texts = None if found is None else [found]
        if not self.labelled and texts is None:
            label = self._common(names, LABEL_NAMES, [], where)
            texts = [0] if len(names) == 1 else None
        if len(names) == 2:  # one known, so the other is known
            if texts is None and label is not None:
                texts = [1 - label]
            elif label is None and self.labelled and texts is not None and len(texts) == 1:
                label = 1 - texts[0]
        missing = [f"text ({self.prefix}text_column)"] if texts is None else []
        missing += [f"class ({self.prefix}label_column)"] if label is None and self.labelled else []
        if texts is None or missing:
            keys = f"{self.prefix}text_column" + (f" and {self.prefix}label_column" if self.labelled else "")
            raise UserError(
                f"{where}: no column looks like the {' or the '.join(missing)}; the columns are {_shown(names)}; set "
                f"{keys} to a name or a number from 1 (a CSV file without a header line needs "
                f"{self.prefix}header=false)"
            )
        if label is not None and label in texts:
            raise UserError(
                f"{where}: column {names[label]!r} is both text and class; set {self.prefix}text_column and "
                f"{self.prefix}label_column to different columns of {_shown(names)}"
            )
        return texts, label if self.labelled else None

    def find_group(self, names: Sequence[str], where: str) -> int | None:
        """The index of the column of the group, None where none is asked for. ``names``, ``where``: see `find`."""
        return None if self.group is None else self._index(names, self.group, "group_column", where)

    def _index(self, names: Sequence[str], column: str | int, key: str, where: str) -> int:
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
                f"{self.prefix}{key} to the number of the right one"
            )
        raise UserError(f"{where}: there is no column {self.prefix}{key}={column}; the columns are {_shown(names)}")

    def _common(self, names: Sequence[str], known: Sequence[str], taken: Sequence[int], where: str) -> int | None:
        """The column with the likeliest of the common names."""
        plain = [name.strip().lower() for name in names]
        for candidate in known:
            found = [index for index, name in enumerate(plain) if name == candidate and index not in taken]
            if len(found) > 1:
                raise UserError(
                    f"{where}: {len(found)} columns are called {candidate!r} (numbers {_numbers(found)}); rename one, "
                    f"or set {self.prefix}text_column and {self.prefix}label_column to the numbers of the right ones"
                )
            if found:
                return found[0]
        return None


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else [value]


def _numbers(indices: Sequence[int]) -> str:
    return " and ".join(str(index + 1) for index in indices)


def _shown(names: Sequence[str], most: int = 20) -> str:
    """The names of the columns, shortened to fit a message."""
    shown = ", ".join(repr(name if len(name) <= 40 else name[:37] + "...") for name in names[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")
