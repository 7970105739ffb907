"""The interface of a source of documents, whatever file or generator it reads."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

#: The splits a source may give, in this order. Only ``train`` must be there; the others are split off when missing.
SPLITS = ("train", "valid", "test")


class Document(NamedTuple):
    """One labelled text, both exactly as the source has them.

    Records are numbered from 1 as they stand in the file that the user named: the header and blank lines do not count,
    rows that are left out do. The same number stands in messages, in ``predictions.csv`` and in what evaluate.py lists.
    """

    text: str
    label: str
    record: int = 0  # number in its file; 0 where the source gives none: then documents are counted (`numbered`)
    group: str = ""  # such as an author or a thread: its documents are on one side of a split; empty for none


def numbered(documents: Iterable[Document]) -> Iterator[Document]:
    """The documents with their record numbers; those of a source that gives none are counted from 1."""
    for count, document in enumerate(documents, start=1):
        yield document if document.record else document._replace(record=count)


class Notes:
    """What was left out or looked odd while reading, counted per kind, each with the place where it first happened."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.first: dict[str, str] = {}

    def add(self, kind: str, where: str) -> None:
        """Count one case of ``kind`` (such as "empty text kept"); ``where`` names file and record."""
        self.counts[kind] = self.counts.get(kind, 0) + 1
        self.first.setdefault(kind, where)

    def as_dict(self) -> dict[str, dict[str, Any]]:
        """``{kind: {"count": n, "first": where}}``, plain enough for JSON."""
        return {kind: {"count": count, "first": self.first[kind]} for kind, count in self.counts.items()}


def note_lines(notes: Mapping[str, Mapping[str, Any]]) -> list[str]:
    return [f"{note['count']:,} x {kind} (first: {note['first']})" for kind, note in notes.items()]


class Source(ABC):
    """Documents with their classes, split by split, read one at a time so that a large file never lies in memory.

    To add a source: subclass, and name the class in ``conf/data/<choice>.yaml`` as ``_target_``; the other keys of that
    file are the constructor's arguments. Wrong input raises ``UserError``.
    """

    #: Names the data set in results and in the cache.
    name: str

    def fetch(self, cache_dir: Path) -> None:  # noqa: B027  (most sources have nothing to fetch)
        """Bring into ``cache_dir`` what is not there yet. Called once, before everything else."""

    def look(self) -> None:  # noqa: B027
        """Refuse what a glance at the first row shows to be wrong, before anything takes time."""

    @abstractmethod
    def splits(self) -> tuple[str, ...]:
        """The splits that are given, a part of ``SPLITS`` that has ``train``."""

    def where(self, split: str) -> str:
        """What a message calls ``split``: its file, where there is one."""
        return f"{split} of {self.name}"

    @abstractmethod
    def fingerprint(self) -> dict[str, Any]:
        """Plain values that change whenever the documents would: hashes of file contents and how they are read."""

    @abstractmethod
    def documents(self, split: str, notes: Notes) -> Iterator[Document]:
        """Yield the documents of ``split`` in the order of their records, and note what is left out."""
