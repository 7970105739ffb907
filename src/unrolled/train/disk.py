"""Recognising a full disk."""

import errno
import shutil
from pathlib import Path

from unrolled.errors import UserError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # of the device, of a quota, of one file


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
