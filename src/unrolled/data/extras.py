"""Optional packages, which only some sources and tokenizers need."""

import importlib.util

from unrolled.errors import UserError


def require_extra(package: str, extra: str, choice: str) -> None:
    """Refuse ``choice``, as the user made it, where ``package``, which ``extra`` of this project brings, is missing."""
    if importlib.util.find_spec(package) is None:
        raise UserError(
            f"{choice} needs the package {package}, which is not installed; run `pip install -e '.[{extra}]'`"
        )
