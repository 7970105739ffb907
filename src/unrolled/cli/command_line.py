"""Checks and corrections of the command line of `train.py`, made before Hydra reads it."""

import re
import tempfile
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from unrolled.arguments import nearest, quoted
from unrolled.cli.conf import choices, default_choices, existing_keys
from unrolled.errors import UserError

FILE_KEYS = ("data.", "text.", "resume", "output_dir")  # begin the keys whose values are names of files and columns
HYDRAS_OPTIONS = (
    *("--hydra-help", "--version", "--cfg", "--resolve", "--package", "--run", "--multirun", "--shell-completion"),
    *("--config-path", "--config-name", "--config-dir", "--experimental-rerun", "--info"),
)
ONE_CHOICE = ("data", "model", "text", "pooling", "optimizer", "recipe", "trainer", "tbptt")  # of a list the last wins
NONE = "none"  # the choice of a group that stands for `group=null`
#: What Hydra reads as a number or a truth value, although a choice can only be text: it would end in a traceback.
NO_TEXT = re.compile(r"[-+]?[\d._]+(e[-+]?\d+)?|true|false|inf|nan", re.IGNORECASE)


def check_options(arguments: Sequence[str], conf: Path) -> None:
    """Raise UserError for a setting with dashes before it, as ``--dry-run`` or ``--epochs 3``."""
    for text, after in pairwise([*arguments, ""]):
        option, equals, value = text.partition("=")
        if option.startswith("--") and option not in HYDRAS_OPTIONS:
            name = option[2:].replace("-", "_")
            if not equals:
                value = "true" if name == "dry_run" else after if re.fullmatch("[^-=][^=]*", after) else "VALUE"
            key = next(iter(nearest(name, existing_keys(conf, []))), name)
            raise UserError(
                f"{text}: there is no such option; settings have no dashes before them, as in {key}={value}"
            )


def check_output_dir(arguments: Sequence[str], project: Path) -> None:
    """Raise UserError where no directory can be made at `output_dir=`."""
    for given in (argument.partition("=")[2] for argument in arguments if argument.startswith("output_dir=")):
        path = project / given
        existing = next(each for each in (path, *path.parents) if each.exists())
        try:
            with tempfile.TemporaryDirectory(dir=existing):
                pass
        except OSError as error:
            reason = error.strerror or str(error)
            raise UserError(
                f"output_dir={given}: no directory can be made in {existing} ({reason}); name another one"
            ) from error


def quote_names(arguments: Sequence[str]) -> list[str]:
    """The command line with quotes around file and column names that Hydra's grammar cannot read, as ``a (1).csv``.

    Raises UserError for any other setting that it cannot read.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    parser = OverridesParser.create()
    found = []
    for text in arguments:
        key, equals, value = text.partition("=")
        try:
            if equals and not text.startswith("-"):
                parser.parse_override(text)
        except HydraException as error:
            if not key.startswith(FILE_KEYS):
                reason = str(error).splitlines()[0]
                raise UserError(
                    f"{text}: cannot be read ({reason}); put a value with special characters in quotes twice, "
                    f"as in \"{key}='...'\""
                ) from error
            text = f"{key}={quoted(value)}"
        found.append(text)
    return found


def without_null_choices(arguments: Sequence[str], conf: Path) -> list[str]:
    """The command line with ``GROUP=null`` as Hydra understands it: the choice ``none``, or nothing to be chosen.

    Raises UserError where a group cannot do without, for a list where one choice is made, and for a choice with the
    ending of its file, which Hydra takes.
    """
    defaults, found = default_choices(conf), []
    for text in arguments:
        group, _, value = text.partition("=")
        if group in defaults and value.endswith(".yaml"):
            raise UserError(f"{text}: a choice is named without .yaml; did you mean {text.removesuffix('.yaml')}?")
        if group.lstrip("+") in defaults:
            if value.startswith("[") and group in ONE_CHOICE:
                each = value.strip("[] ")
                raise UserError(f"{text}: a run takes one choice; {group}={each} with -m is a sweep over them")
            text = f"{group}=" + re.sub(r"[^][,\s]+", _as_text, value)
        if value != "null" or group not in defaults:
            found.append(text)
        elif NONE in (names := choices(conf, group)):
            found.append(f"{group}={NONE}")
        elif defaults[group] is not None:
            raise UserError(f"{text}: a run needs one; choose one of {', '.join(names)}")
    return found


def _as_text(choice: re.Match[str]) -> str:
    return f"'{choice[0]}'" if NO_TEXT.fullmatch(choice[0]) else choice[0]
