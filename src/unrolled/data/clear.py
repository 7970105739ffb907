"""Removal of what the data cache holds: ``python -m unrolled.data.clear`` (``make clean-cache``)."""

import shutil
import sys
from pathlib import Path

from unrolled.errors import UserError
from unrolled.files import lock
from unrolled.places import default_cache_dir

FOLDERS = ("tables", "tokens", "tokenizers", "linear")  # fetched, tokenized, trained, fitted


def clear_cache(directory: Path) -> int:
    """Remove all that this package keeps in ``directory``, and nothing else; returns how many bytes were freed."""
    freed = 0
    for name in FOLDERS:
        folder = directory / name
        if folder.is_dir():
            freed += sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
            with lock(directory / "tables.lock", "is fetching the built-in text sets"):
                shutil.rmtree(folder)
    return freed


def main() -> None:
    try:
        directory = Path(sys.argv[1]) if len(sys.argv) > 1 else default_cache_dir()
    except UserError as error:
        sys.exit(f"error: {error}")
    print(f"{directory}: {clear_cache(directory) / 1e6:,.1f} MB freed")


if __name__ == "__main__":
    main()
