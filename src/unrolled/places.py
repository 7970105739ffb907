"""Directories: the project, and the cache of what is fetched, tokenized or compiled."""

import os
from pathlib import Path

from unrolled.errors import UserError

PROJECT = Path(__file__).resolve().parents[2]  # that holds train.py and conf/, unless the package is installed alone


def default_cache_dir() -> Path:
    """``$UNROLLED_CACHE`` if set, else ``.cache/unrolled`` of the project or, installed alone, of the user.

    Raises UserError where the variable begins with ``~`` and there is no such home.
    """
    if given := os.environ.get("UNROLLED_CACHE"):
        try:
            return Path(given).expanduser().absolute()
        except RuntimeError as error:
            rule = "there is no such home directory; set it to a directory that can be written to"
            raise UserError(f"UNROLLED_CACHE={given}: {rule}") from error
    alone = not ((PROJECT / "pyproject.toml").is_file() and (PROJECT / "conf").is_dir())
    return (Path.home() if alone else PROJECT) / ".cache" / "unrolled"
