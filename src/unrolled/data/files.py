"""Files that several runs share: written whole or not at all, by one run at a time, and recognised by content."""

import errno
import fcntl
import hashlib
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from unrolled.errors import UserError
from unrolled.places import default_cache_dir

log = logging.getLogger(__name__)


def cache_directory(given: str | Path | None) -> Path:
    """The directory for ``data.cache_dir``, the default where none is given."""
    return user_path(given or default_cache_dir(), "data.cache_dir")


def user_path(path: str | Path, key: str) -> Path:
    """``path``, given as ``key``, absolute. Raises UserError where it begins with ``~`` and there is no such home."""
    try:
        return Path(path).expanduser().absolute()
    except RuntimeError as error:
        raise UserError(f"{key}={path} is not a usable path: {error}") from error


def sha256(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def lock(path: Path, waiting_for: str) -> Iterator[bool]:
    """Hold an exclusive lock on ``path``, waiting while another process has it; the file is gone afterwards.

    Yields whether the lock is really held: some network file systems have none, and there the atomic renames of the
    callers must do alone (work may be done twice, but nothing is ever half written).
    """
    while True:
        with disk_errors(path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
            file = path.open("a")
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                log.info("Waiting for another run that %s.", waiting_for)
                fcntl.flock(file, fcntl.LOCK_EX)
            except OSError:
                yield False
                return
            if not _is_at(file, path):
                continue  # who had the lock has removed this file: whoever comes now locks a new one
            try:
                yield True  # closing the file releases the lock
            finally:
                path.unlink(missing_ok=True)
            return


def _is_at(file: IO[str], path: Path) -> bool:
    """Whether the open file is still the one that stands at ``path``."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


@contextmanager
def disk_errors(directory: Path) -> Iterator[None]:
    """Turn a full or unwritable disk under ``directory`` into a message; other errors pass unchanged."""
    try:
        yield
    except OSError as error:
        reasons = {
            errno.ENOSPC: "the disk is full",
            errno.EDQUOT: "the disk quota is used up",
            errno.EFBIG: "a limit on the size of files is reached",
            errno.EROFS: "the file system is read-only",
            errno.EACCES: "writing is not permitted",
            errno.EPERM: "writing is not permitted",
            errno.ENOTDIR: "a part of the path is a file",
            errno.EEXIST: "a part of the path is a file",
        }
        if error.errno not in reasons:
            raise
        raise UserError(
            f"cannot write to the data cache {directory}: {reasons[error.errno]} ({error.filename or directory}); "
            f"nothing half-written was left; free space there or set UNROLLED_CACHE (or data.cache_dir) "
            f"to another directory"
        ) from error
