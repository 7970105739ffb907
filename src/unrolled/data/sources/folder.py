"""Directories as a source of documents: one directory for each class, one file for each document."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from unrolled.data.readers.text_file import check_encoding, find_encoding, reading
from unrolled.data.sources.source import SPLITS, Document, Notes, Source
from unrolled.errors import UserError
from unrolled.files import sha256, user_path

_SPLIT_NAMES = {"train", "training", "valid", "validation", "val", "dev", "test", "testing"}


@dataclass
class Folder(Source):
    """Documents in files below one directory for each class, whose name is the class (as the IMDB reviews come).

    Files may lie in directories below that of their class, and may be gzipped. Names that begin with a dot are left
    out. Documents are ordered by path. conf/data/folder.yaml says what the arguments mean.
    """

    train: str
    valid: str | None = None
    test: str | None = None
    encoding: str | None = None
    empty: Literal["keep", "drop"] = "keep"
    bad_rows: Literal["stop", "drop"] = "stop"

    def __post_init__(self) -> None:
        check_encoding(self.encoding)
        given = {split: getattr(self, split) for split in SPLITS}
        self.directories = {
            split: _existing_directory(path, f"data.{split}") for split, path in given.items() if path is not None
        }
        # Listed once, so that the key of the cache and the documents come from the same files.
        self.files = {split: _files(directory, f"data.{split}") for split, directory in self.directories.items()}
        self.name = self.directories["train"].name
        if self.name in _SPLIT_NAMES and self.directories["train"].parent.name:
            self.name = self.directories["train"].parent.name

    def splits(self) -> tuple[str, ...]:
        return tuple(self.directories)

    def where(self, split: str) -> str:
        return str(self.directories[split])

    def fingerprint(self) -> dict[str, Any]:
        hashes = {}
        for split, files in self.files.items():
            running = hashlib.sha256()
            for label, file in files:
                running.update(f"{label}\0{sha256(file)}\n".encode("utf-8", "surrogateescape"))
            hashes[split] = running.hexdigest()
        settings = {"encoding": self.encoding, "empty": self.empty, "bad_rows": self.bad_rows}
        return {"reader": "Folder", "files": hashes, "settings": settings}

    def documents(self, split: str, notes: Notes) -> Iterator[Document]:
        for record, (label, file) in enumerate(self.files[split], start=1):
            with reading(file) as stream:
                content = stream.read()
            try:
                text = content.decode(self.encoding or find_encoding(content))
            except UnicodeError as error:
                self._bad(notes, file, f"it is not text in UTF-8 ({error})" if self.encoding is None else str(error))
                continue
            if "\0" in text:
                self._bad(notes, file, "it contains NUL characters, so it is not plain text")
                continue
            if not text.strip():
                notes.add(f"blank text {'dropped' if self.empty == 'drop' else 'kept'}", str(file))
                if self.empty == "drop":
                    continue
            yield Document(text, label, record)

    def _bad(self, notes: Notes, file: Path, reason: str) -> None:
        if self.bad_rows == "stop":
            raise UserError(f"{file}: {reason}; set data.encoding, or set data.bad_rows=drop to leave such files out")
        notes.add("file that is not text dropped", str(file))


def _existing_directory(path: str, key: str) -> Path:
    if not path.isprintable():
        raise UserError(f"{key}={path[:200]!r} contains characters that cannot be printed; rename the directory")
    directory = user_path(path, key)
    if directory.is_file():
        raise UserError(f"{key}={path} is a file, not a directory of directories; for a table choose data=csv")
    if not directory.is_dir():
        raise UserError(f"{key}={path} does not exist (looked for {directory}); give a directory")
    return directory


def _files(directory: Path, key: str) -> list[tuple[str, Path]]:
    """(class, file) of every document below ``directory``, ordered by path."""
    try:
        classes = sorted(entry.name for entry in os.scandir(directory) if entry.is_dir() and entry.name[0] != ".")
    except OSError as error:
        raise UserError(f"{key}={directory} cannot be listed: {error.strerror}") from error
    if not classes:
        raise UserError(
            f"{key}={directory} holds no directories; one for each class is needed, with one file per document"
        )
    if set(classes) <= _SPLIT_NAMES:
        raise UserError(
            f"{key}={directory} holds {', '.join(classes)}, which are splits rather than classes; set "
            f"data.train={directory / classes[-1]} and so on"
        )
    found = []
    for label in classes:
        for parent, below, names in os.walk(directory / label):
            below[:] = sorted(name for name in below if name[0] != ".")
            found += [(label, Path(parent, name)) for name in sorted(names) if name[0] != "."]
    files = [(label, file) for label, file in found if file.is_file()]
    if not files:
        raise UserError(f"{key}={directory} holds no files in its directories {', '.join(classes[:5])}; give documents")
    return files
