"""Optional packages, which only some sources and tokenizers need."""

import importlib.util

from unrolled.errors import UserError


def require_extra(package: str, extra: str, choice: str) -> None:
    """Refuse ``choice`` in one sentence where ``package``, which it needs, is not installed.

    Args:
        package: name under which it is imported.
        extra: the optional dependency of this project that brings it.
        choice: what the user asked for, as on the command line.
    """
    if importlib.util.find_spec(package) is None:
        raise UserError(
            f"{choice} needs the package {package}, which is not installed; run `pip install -e '.[{extra}]'`"
        )
