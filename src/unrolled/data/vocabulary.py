"""The vocabulary: which token types a model knows, and their ids."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

PAD, UNK = "<pad>", "<unk>"
SPECIALS = (PAD, UNK)
UNKNOWN = 1  # the id of UNK


class Vocabulary:
    """All tokens in the order of their ids: ``<pad>`` 0, ``<unk>`` 1, then by count descending and alphabetically."""

    def __init__(self, tokens: Sequence[str]) -> None:
        self.tokens = list(tokens)
        if tuple(self.tokens[:2]) != SPECIALS:
            raise ValueError(f"a vocabulary starts with {PAD} and {UNK}, got {self.tokens[:2]}")
        self._ids = {token: index for index, token in enumerate(self.tokens)}
        if len(self._ids) != len(self.tokens):
            raise ValueError("a vocabulary holds each token once")

    def __len__(self) -> int:
        return len(self.tokens)

    def __contains__(self, token: str) -> bool:
        return token in self._ids

    def lookup(self, tokens: Iterable[str]) -> list[int]:
        """The id of each token; 1 (``<unk>``) for one that is not known."""
        return [self._ids.get(token, UNKNOWN) for token in tokens]

    def save(self, path: str | Path) -> None:
        """Write plain text, UTF-8, line n for id n; a backslash or line break in a token is written as an escape."""
        lines = (_escape(token) + "\n" for token in self.tokens)
        # Some encodings can make halves of characters, which plain UTF-8 would refuse.
        Path(path).write_text("".join(lines), encoding="utf-8", errors="surrogatepass", newline="\n")

    @classmethod
    def load(cls, path: str | Path) -> Vocabulary:
        """Read what `save` wrote."""
        with Path(path).open(encoding="utf-8", errors="surrogatepass", newline="\n") as file:
            return cls([_unescape(line.removesuffix("\n")) for line in file])


def choose_types(
    types: Sequence[str], counts: NDArray[np.int64], max_size: int | None = None, min_count: int = 1
) -> tuple[Vocabulary, NDArray[np.int32]]:
    """The vocabulary of a training set, and the table that leads from type ids to its ids.

    types: all of the corpus, alphabetically (by code point); counts: how often each stands in the training documents,
    [types]; max_size: most tokens, the two specials included; min_count: a type that is rarer in training is unknown,
    as one that is not there always is. The table is int32 [types], 1 for unknown ones.
    """
    # A stable sort of alphabetical types by count leaves equal counts alphabetical.
    order = np.argsort(-counts, kind="stable")
    order = order[: int((counts >= max(min_count, 1)).sum())]
    for special in SPECIALS:  # a text may hold "<unk>" or "<pad>" itself: then it means unknown
        at = bisect_left(types, special)
        if at < len(types) and types[at] == special:
            order = order[order != at]
    if max_size is not None:
        order = order[: max(max_size - len(SPECIALS), 0)]
    table = np.ones(len(types), dtype=np.int32)
    table[order] = np.arange(len(SPECIALS), len(SPECIALS) + len(order), dtype=np.int32)
    return Vocabulary([*SPECIALS, *(types[index] for index in order.tolist())]), table


_ESCAPES = {"\\": "\\\\", "\n": "\\n", "\r": "\\r"}
_UNESCAPES = {"\\": "\\", "n": "\n", "r": "\r"}


def _escape(token: str) -> str:
    if "\\" in token or "\n" in token or "\r" in token:
        return "".join(_ESCAPES.get(character, character) for character in token)
    return token


def _unescape(line: str) -> str:
    if "\\" not in line:
        return line
    characters = iter(line)
    return "".join(_UNESCAPES[next(characters)] if character == "\\" else character for character in characters)
