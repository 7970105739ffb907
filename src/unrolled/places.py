"""Directories: the project, and the cache of what is fetched, tokenized or compiled."""

import os
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]  # that holds train.py and conf/, unless the package is installed alone


def default_cache_dir() -> Path:
    """``$UNROLLED_CACHE`` if set, else ``.cache/unrolled`` of the project or, installed alone, of the user."""
    if os.environ.get("UNROLLED_CACHE"):
        return Path(os.environ["UNROLLED_CACHE"]).expanduser().absolute()
    alone = not ((PROJECT / "pyproject.toml").is_file() and (PROJECT / "conf").is_dir())
    return (Path.home() if alone else PROJECT) / ".cache" / "unrolled"
