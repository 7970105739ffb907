"""The token cache: every text of a source tokenised once, kept as flat arrays that later runs map into memory.

An entry is a directory ``<cache_dir>/tokens/<name>-<key>``. The key is a hash of the contents of the source's files,
of how they are read, and of the tokenizer's settings, so a changed file or setting never meets old tokens. Vocabulary
and splits are not part of it: they are derived when loading.

    types.json               every type that occurs, alphabetically
    <split>.tokens.npy       [total] type ids, the narrowest integers that hold them
    <split>.starts.npy       [N + 1] where each document begins
    <split>.labels.npy       [N] class of each document
    <split>.hashes.npy       [N] 64-bit hash of each document's tokens, to find duplicates
    <split>.records.npy      [N] number of each document in its file, ascending
    <split>.groups.npy       [N] number of each document's group, -1 for none
    meta.json                class names, notes of the reader, size and SHA-256 of each file above

An entry is written in a directory of its own and renamed when complete; readers verify it and rebuild a damaged one.
"""

import hashlib
import json
import logging
import os
import shutil
import time
import uuid
from array import array
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unrolled.data.corpus import TokenCorpus
from unrolled.data.sources.source import Notes, Source, numbered
from unrolled.data.tokenizer import Tokenizer
from unrolled.errors import UserError
from unrolled.files import disk_errors, lock, sha256

log = logging.getLogger(__name__)

FORMAT = 4  # part of the key: raise it when the layout or a tokenizer changes
FLUSH = 1 << 20  # tokens that are held in memory while building
#: The files of a split and the integers that are written to them while building.
COLUMNS: dict[str, type[np.integer[Any]]] = {
    "tokens": np.int32,
    "starts": np.int64,
    "labels": np.int64,
    "hashes": np.uint64,
    "records": np.int64,
    "groups": np.int64,
}


@dataclass(frozen=True)
class TokenCache:
    """The contents of an entry of the cache."""

    path: Path
    types: list[str]  # alphabetically, by code point
    labels: list[str]  # names of the classes; numbers in order of value, otherwise alphabetically
    splits: dict[str, TokenCorpus]  # those that are given, in the order of the source; their tables lead nowhere yet
    notes: dict[str, Any]  # what the reader left out


class DamagedEntryError(Exception):
    """A cache entry is not what was written."""


def token_cache(source: Source, tokenizer: Tokenizer, cache_dir: Path) -> TokenCache:
    """The tokens of ``source``, from the cache if they are there and undamaged, otherwise built.

    Safe when several processes ask at once: one builds, the others wait for it.

    Raises:
        UserError: what is wrong with the source, or no room on the disk.
    """
    settings = {"format": FORMAT, "source": source.fingerprint(), "tokenizer": tokenizer.describe()}
    key = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]
    folder = cache_dir / "tokens"
    name = "".join(character if character.isalnum() or character in "-_" else "_" for character in source.name)[:60]
    path = folder / f"{name}-{key}"
    try:
        return _load(path)
    except FileNotFoundError:
        pass
    except DamagedEntryError:
        log.debug("Cache entry %s does not verify; looking again under the lock.", path)
    with lock(folder / f"{key}.lock", f"is tokenising {source.name}") as locked:
        try:
            return _load(path)  # another run has built it meanwhile
        except FileNotFoundError:
            pass
        except DamagedEntryError as damage:
            log.warning("The token cache %s is damaged (%s); it is built again.", path, damage)
            shutil.rmtree(path, ignore_errors=True)
        with disk_errors(folder):
            if locked:  # whatever is half built here belongs to a run that was killed
                for abandoned in folder.glob(f".building-{key}-*"):
                    shutil.rmtree(abandoned, ignore_errors=True)
            scratch = folder / f".building-{key}-{uuid.uuid4().hex}"
            scratch.mkdir()
            try:
                _build(source, tokenizer, settings, scratch)
                try:
                    scratch.rename(path)
                except OSError:
                    if not path.is_dir():  # otherwise: without locks another run was first, which is as good
                        raise
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
        return _load(path)


def _load(path: Path) -> TokenCache:
    """Read and verify an entry.

    Raises:
        FileNotFoundError: there is none.
        DamagedEntryError: a file is missing or has another content than was written.
    """
    if not path.is_dir():
        raise FileNotFoundError(path)
    try:
        meta = json.loads((path / "meta.json").read_text(encoding="utf-8"))
        if meta["check"] != _digest(meta):
            raise DamagedEntryError("meta.json has changed")
        for name, (size, digest) in meta["files"].items():
            if (path / name).stat().st_size != size or sha256(path / name) != digest:
                raise DamagedEntryError(f"{name} has changed")
        types = json.loads((path / "types.json").read_text(encoding="ascii"))
        table, splits = np.zeros(len(types), dtype=np.int32), {}
        for split in meta["splits"]:
            columns = {
                name: np.load(path / f"{split}.{name}.npy", mmap_mode="r" if name == "tokens" else None)
                for name in COLUMNS
            }
            tokens, bounds, labels, hashes, records, groups = columns.values()
            some = groups if (groups >= 0).any() else None
            splits[split] = TokenCorpus(
                tokens, table, bounds[:-1], np.diff(bounds), labels, records, some, hashes=hashes
            )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DamagedEntryError(str(error)) from error
    return TokenCache(path, types, meta["labels"], splits, meta["notes"])


def _digest(meta: dict[str, Any]) -> str:
    rest = {key: value for key, value in meta.items() if key != "check"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _build(source: Source, tokenizer: Tokenizer, settings: dict[str, Any], path: Path) -> None:
    """Tokenise all splits of ``source`` into the empty directory ``path``. Reads one document at a time."""
    began = time.perf_counter()
    log.info("Tokenising %s (%s), once.", source.name, tokenizer.kind)
    notes = Notes()
    types, classes, groups = Numbering(), Numbering(), Numbering()
    for split in source.splits():
        _tokenise(source, split, tokenizer, types, classes, groups, notes, path)

    ordered = sorted(types)
    labels = sorted(classes, key=label_order)
    narrow = np.uint8 if len(ordered) <= 1 << 8 else np.uint16 if len(ordered) <= 1 << 16 else np.int32
    ranks = {"tokens": ranks_in(types, ordered).astype(narrow), "labels": ranks_in(classes, labels)}
    words = 0
    for split in source.splits():
        for name, dtype in COLUMNS.items():
            length = _finish(path / f"{split}.{name}", dtype, ranks.get(name))
            words += length if name == "tokens" else 0
    (path / "types.json").write_text(json.dumps(ordered), encoding="ascii")

    seconds = time.perf_counter() - began
    meta = {
        "settings": settings,
        "splits": list(source.splits()),
        "labels": labels,
        "notes": notes.as_dict(),
        "files": {file.name: (file.stat().st_size, sha256(file)) for file in sorted(path.iterdir())},
    }
    meta["check"] = _digest(json.loads(json.dumps(meta)))
    (path / "meta.json").write_text(json.dumps(meta, indent=1), encoding="utf-8")
    for file in path.iterdir():
        with file.open("rb") as written:
            os.fsync(written.fileno())
    log.info("Tokenised %s: %s tokens of %s types in %.1f s.", source.name, f"{words:,}", f"{len(ordered):,}", seconds)


class Numbering(defaultdict[str, int]):
    """Numbers strings in the order in which they are first looked up."""

    def __init__(self) -> None:
        super().__init__()
        self.default_factory = self.__len__


def ranks_in(numbering: Numbering, ordered: list[str]) -> NDArray[np.int64]:
    """For each number of ``numbering`` the place of its string in ``ordered``."""
    ranks = np.empty(len(ordered), dtype=np.int64)
    ranks[[numbering[name] for name in ordered]] = np.arange(len(ordered))
    return ranks


def label_order(label: str) -> tuple[int, int, str]:
    """Whole numbers by value and first, then all others alphabetically."""
    digits = label.removeprefix("-")
    return (0, int(label), label) if digits.isascii() and digits.isdigit() and len(digits) < 19 else (1, 0, label)


def _tokenise(
    source: Source,
    split: str,
    tokenizer: Tokenizer,
    types: Numbering,
    classes: Numbering,
    groups: Numbering,
    notes: Notes,
    path: Path,
) -> None:
    """Write `<split>.tokens` and so on, bare integers; types, classes and groups are numbered as they first occur."""
    number = types.__getitem__
    total = 0
    tokens: list[int] = []
    starts, labels, hashes, records, members = array("q", [0]), array("q"), bytearray(), array("q"), array("q")
    last = 0
    with ExitStack() as stack:
        raw = [stack.enter_context((path / f"{split}.{name}").open("wb")) for name in COLUMNS]

        def flush() -> None:
            columns: tuple[Any, ...] = (np.array(tokens, np.int32).data, starts, labels, hashes, records, members)
            for file, column in zip(raw, columns, strict=True):
                file.write(column)
            del tokens[:], starts[:], labels[:], hashes[:], records[:], members[:]

        for text, label, record, group in numbered(source.documents(split, notes)):
            if record <= last:
                raise UserError(
                    f"{source.where(split)}: record {record} comes after record {last}; {type(source).__name__} must "
                    f"give its documents in the order of their record numbers, or no numbers"
                )
            last = record
            records.append(record)
            members.append(groups[group] if group else -1)
            found = tokenizer(text)
            tokens.extend(map(number, found))
            total += len(found)
            starts.append(total)
            labels.append(classes[label])
            hashes += hashlib.blake2b("\0".join(found).encode("utf-8", "replace"), digest_size=8).digest()
            if len(tokens) >= FLUSH or len(labels) >= FLUSH:
                flush()
        flush()


def _finish(raw: Path, dtype: type[np.integer[Any]], rank: NDArray[Any] | None = None) -> int:
    """Turn a file of bare integers into a `.npy` file, each replaced by its ``rank``; returns how many there are."""
    length = raw.stat().st_size // np.dtype(dtype).itemsize
    with raw.open("rb") as given, raw.with_name(raw.name + ".npy").open("wb") as out:
        header = {
            "descr": np.lib.format.dtype_to_descr(np.dtype(dtype) if rank is None else rank.dtype),
            "fortran_order": False,
            "shape": (length,),
        }
        np.lib.format.write_array_header_1_0(out, header)
        while len(piece := np.fromfile(given, dtype=dtype, count=FLUSH)):
            out.write((piece if rank is None else rank[piece]).data)  # `tofile` has no errno when the disk is full
    raw.unlink()
    return length
