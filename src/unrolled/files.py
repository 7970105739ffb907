"""Files: written whole or not at all, by one process at a time, on a disk that may be full."""

import errno
import fcntl
import hashlib
import logging
import os
import shutil
import tempfile
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


# ---- written whole or not at all -------------------------------------------------------------------------------------


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file to write, which takes the place of ``path`` in the end; nothing is left of one that could not be written.

    Readers find the old file or the new one, never half of one.
    """
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as out:
        new = Path(out.name)
    try:
        yield new
    except BaseException:
        new.unlink()
        raise
    umask = os.umask(0)
    os.umask(umask)
    new.chmod(0o666 & ~umask)  # temporary files are private, results are not
    new.replace(path)


def write_atomically(path: Path, text: str) -> None:
    """Write ``text`` as the whole of ``path``."""
    with replacing(path) as new:
        new.write_text(text, encoding="utf-8", newline="")


# ---- by one process at a time ----------------------------------------------------------------------------------------


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


# ---- on a disk that may be full --------------------------------------------------------------------------------------

FULL = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "a limit on the size of files is reached",
}
UNWRITABLE = FULL | {
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "writing is not permitted",
    errno.EPERM: "writing is not permitted",
    errno.ENOTDIR: "a part of the path is a file",
    errno.EEXIST: "a part of the path is a file",
}


@contextmanager
def disk_errors(directory: Path) -> Iterator[None]:
    """Turn a full or unwritable disk under ``directory`` into a message; other errors pass unchanged."""
    try:
        yield
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        raise UserError(
            f"cannot write to the data cache {directory}: {UNWRITABLE[error.errno]} ({error.filename or directory}); "
            f"nothing half-written was left; free space there or set UNROLLED_CACHE (or data.cache_dir) "
            f"to another directory"
        ) from error


class DiskFullError(UserError):
    """A file could not be written for lack of space."""


def disk_full_error(error: BaseException, path: Path, needed: int | None = None) -> DiskFullError | None:
    """The message for ``path`` if a full disk led to ``error``, else None; needed: bytes.

    Libraries hide the OSError: torch's zip writer raises a RuntimeError with the OSError in its context.
    """
    chain: list[BaseException] = [error]
    while (earlier := chain[-1].__cause__ or chain[-1].__context__) is not None:
        chain.append(earlier)
    told = next((each for each in chain if isinstance(each, DiskFullError)), None)
    if told is not None or not any(isinstance(each, OSError) and each.errno in FULL for each in chain):
        return told
    free = shutil.disk_usage(path if path.is_dir() else path.parent).free / 2**20
    wanted = "" if needed is None else f"{needed / 2**20:,.1f} MiB are needed, "
    return DiskFullError(f"{path} cannot be written, the disk is full: {wanted}{free:,.1f} MiB are free")
