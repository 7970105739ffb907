"""Synthetic data sets that need memory or the order of tokens. The same arguments make the same documents."""

import random
import statistics
from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from unrolled.arguments import Count, at_least
from unrolled.data.sources.source import Document, Notes, Source
from unrolled.errors import UserError


class Generated(Source):
    """Documents from a seeded generator, all different, so that none of test stands in train."""

    train: int
    test: int
    seed: int

    def __post_init__(self) -> None:
        self.sizes = {"train": self.train, "test": self.test}

    @abstractmethod
    def make(self, rng: random.Random) -> Document:
        """One document, drawn with ``rng.random()`` alone (other methods may draw differently in another Python)."""

    def splits(self) -> tuple[str, ...]:
        return tuple(self.sizes)

    def fingerprint(self) -> dict[str, Any]:
        return {"generator": self.name, **vars(self)}

    def documents(self, split: str, notes: Notes) -> Iterator[Document]:
        """Train is drawn first and test after it; each call draws from the start, so calls do not depend on order."""
        rng = random.Random(self.seed)
        seen: set[str] = set()
        first = 0 if split == "train" else self.sizes["train"]
        last = first + self.sizes[split]
        while len(seen) < last:
            for _ in range(1000):
                document = self.make(rng)
                if document.text not in seen:
                    break
            else:
                raise UserError(
                    f"{self.name} has only about {len(seen)} different documents with these settings, "
                    f"{sum(self.sizes.values())} are asked for; make them longer, or lower data.train and data.test"
                )
            seen.add(document.text)
            if len(seen) > first:
                yield document


@dataclass
class Recall(Generated):
    """The class is the first token; ``length`` tokens of noise follow: what is carried so far, and do gradients reach?

    Noise is drawn from the same symbols as the first token, so only its place tells the class: no bag of words can.
    With noise="other" it has as many symbols of its own: what is left is to keep the first token for so long.
    (The delayed recall of Hochreiter & Schmidhuber, 1997, section 5, as a classification.)
    """

    name = "recall"
    length: Count = 50
    classes: Annotated[int, at_least(2)] = 10
    noise: Literal["same", "other"] = "same"
    train: Count = 5000
    test: Count = 1000
    seed: int = 0

    def make(self, rng: random.Random) -> Document:
        symbols = [int(rng.random() * self.classes) for _ in range(self.length + 1)]
        first, letter = f"s{symbols[0]}", "s" if self.noise == "same" else "n"
        return Document(" ".join([first, *(f"{letter}{symbol}" for symbol in symbols[1:])]), first)


@dataclass
class ListOps(Generated):
    """Nested lists of operations on digits; the class is the value, 0 to 9 (Nangia & Bowman, 2018).

    An expression is a digit or, with probability 1/4 (and always at the top), an operator with 2 to ``max_args``
    expressions: [MAX, [MIN, [MED (the median, rounded down) or [SM (the sum modulo 10), closed by ]. At depth
    ``max_depth`` there are digits only. Expressions outside the asked-for length are drawn again.
    Differs from the published strings: without the parentheses that mark the binary tree, as Tay et al. (2021) use it.
    """

    name = "listops"
    OPERATORS = ("[MAX", "[MIN", "[MED", "[SM")
    OPERATOR_PROBABILITY = 0.25
    min_length: int = 5
    max_length: int = 100
    max_depth: Count = 20
    max_args: Annotated[int, at_least(2)] = 5
    train: Count = 20_000
    test: Count = 2_000
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 4 <= self.min_length <= self.max_length:
            raise UserError(
                f"data.min_length must lie between 4 tokens and data.max_length, got {self.min_length} and "
                f"{self.max_length}"
            )

    def make(self, rng: random.Random) -> Document:
        for _ in range(20_000):
            tokens: list[str] = []
            value = self._expression(rng, 1, tokens)
            if value is not None and len(tokens) >= self.min_length:
                return Document(" ".join(tokens), str(value))
        raise UserError(
            f"listops finds no expression of {self.min_length} to {self.max_length} tokens with data.max_depth="
            f"{self.max_depth} and data.max_args={self.max_args}; lower data.min_length or raise these"
        )

    def _expression(self, rng: random.Random, depth: int, tokens: list[str]) -> int | None:
        """Append an expression's tokens; returns its value, or None once it has become too long."""
        if len(tokens) >= self.max_length:
            return None
        if depth > 1 and (depth > self.max_depth or rng.random() >= self.OPERATOR_PROBABILITY):
            digit = int(rng.random() * 10)
            tokens.append(str(digit))
            return digit
        operator = self.OPERATORS[int(rng.random() * len(self.OPERATORS))]
        tokens.append(operator)
        values = []
        for _ in range(2 + int(rng.random() * (self.max_args - 1))):
            value = self._expression(rng, depth + 1, tokens)
            if value is None:
                return None
            values.append(value)
        tokens.append("]")
        return None if len(tokens) > self.max_length else _VALUE[operator](values)


_VALUE: dict[str, Callable[[list[int]], int]] = {
    "[MAX": max,
    "[MIN": min,
    "[MED": lambda values: int(statistics.median(values)),
    "[SM": lambda values: sum(values) % 10,
}
