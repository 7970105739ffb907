"""A source that lies in memory, for tests of everything that comes after reading."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import hypothesis
import pytest

from unrolled.data.sources.source import Document, Notes, Source

# How long an example takes depends on what else the machine does; a slow one is no mistake.
hypothesis.settings.register_profile("unrolled", deadline=None)
hypothesis.settings.load_profile("unrolled")


class ListSource(Source):
    """Documents given as lists of (text, label); counts how often they are read."""

    name = "lists"

    def __init__(self, **splits: list[tuple[str, str]]) -> None:
        self.given = splits
        self.reads = 0

    def splits(self) -> tuple[str, ...]:
        return tuple(self.given)

    def fingerprint(self) -> dict[str, Any]:
        return {"splits": self.given}

    def documents(self, split: str, notes: Notes) -> Iterator[Document]:
        self.reads += 1
        for text, label in self.given[split]:
            yield Document(text, label)


@pytest.fixture
def list_source() -> Callable[..., ListSource]:
    return ListSource
