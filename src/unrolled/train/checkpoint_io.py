"""Atomic writing and verified reading of checkpoint files."""

import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO
from torch import Tensor

from unrolled.files import disk_full_error
from unrolled.train.signals import defer_signals

UNFINISHED = ".tmp"  # ends the names of files that are being written, or were when their process was killed


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its place, waits until it is on the disk and moves it there.

    A reader finds the old file or the new one, even after a power cut. The zip container of ``torch.save`` holds a
    CRC-32 of every tensor, which `load_intact` checks. Raises DiskFullError where there is no room for it.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name(f".{path.name}{UNFINISHED}")
        try:
            with defer_signals(), new.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            new.replace(path)
        except BaseException as error:
            new.unlink(missing_ok=True)
            if (full := disk_full_error(error, path, needed=_size(checkpoint))) is not None:
                raise full from error
            raise
        if os.name == "posix":
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)  # the name, too
            finally:
                os.close(folder)


def _size(content: Any) -> int:
    """Bytes of all tensors in nested containers."""
    if isinstance(content, Tensor):
        return content.nbytes
    if isinstance(content, Mapping):
        return sum(map(_size, content.values()))
    return sum(map(_size, content)) if isinstance(content, list | tuple) else 0


def load_intact(path: Path) -> Mapping[str, Any]:
    """The checkpoint in ``path``, on the CPU.

    Raises:
        ValueError: the file is cut short, or something in it is not what was written; says what
    """
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise ValueError(f"{damaged} in it does not match its checksum")
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # unpickling damaged bytes can raise anything
        raise ValueError(f"{type(error).__name__}: {error}".splitlines()[0]) from error
    if not isinstance(content, Mapping):
        raise ValueError("it holds no checkpoint")
    return content
