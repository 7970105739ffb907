"""Command lines of `key=value` pairs beside options, as predict.py, evaluate.py and export.py have."""

import argparse
import textwrap
from collections.abc import Mapping, Sequence
from difflib import get_close_matches

from unrolled.errors import UserError


def parse_key_values(
    parser: argparse.ArgumentParser, arguments: Sequence[str], keys: Mapping[str, str], required: Sequence[str]
) -> tuple[argparse.Namespace, dict[str, str]]:
    """The options of ``parser`` and the ``key=value`` pairs beside them.

    keys: what may be given, with its help; required: what must be.

    Raises UserError for an unknown key, one given twice, one without a value, and a missing one.
    """
    parser.add_argument("pairs", nargs="*", metavar="key=value", help="as listed below")
    width = max(map(len, keys)) + 1
    listed = "\n".join(
        textwrap.fill(text, 80, initial_indent=f"  {key + '=':<{width}}  ", subsequent_indent=" " * (width + 4))
        for key, text in keys.items()
    )
    parser.epilog = f"keys:\n{listed}" + (f"\n\n{parser.epilog}" if parser.epilog else "")
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    options = parser.parse_intermixed_args(list(arguments))
    given: dict[str, str] = {}
    for pair in options.pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise UserError(f"{pair}: write key=value, for example {next(iter(keys))}=...; --help lists the keys")
        if key not in keys:
            close = get_close_matches(key, keys, n=1)
            hint = f"did you mean {close[0]}=?" if close else f"there are {', '.join(keys)}"
            raise UserError(f"{key}={value}: there is no such key; {hint}")
        if key in given:
            raise UserError(f"{key}={value}: given twice, {key}={given[key]} before; give it once")
        if not value:
            raise UserError(f"{key}=: the value is missing")
        given[key] = value
    for key in required:
        if key not in given:
            raise UserError(f"{key}= is missing: {keys[key]}; --help shows examples")
    return options, given
