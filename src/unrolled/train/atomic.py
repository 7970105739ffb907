"""Files that are written whole or not at all."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
