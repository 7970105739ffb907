"""Errors that Hydra raises for a command line, as one sentence that suggests what was meant."""

import re
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

from unrolled.arguments import nearest
from unrolled.cli.conf import choices, default_choices, existing_keys, keys_of_choice, pairs

INTERNAL = ("full_key:", "object_type=", "reference_type=", "Config search path", "provider=", "See https:")


def explained(error: Exception, arguments: Sequence[str], conf: Path) -> str:
    """What is wrong with the command line, and what was probably meant."""
    from hydra.errors import MissingConfigException

    if isinstance(error, MissingConfigException) and error.options and error.missing_cfg_file:
        group, _, name = str(error.missing_cfg_file).rpartition("/")
        close = get_close_matches(name, error.options, n=1)
        hint = f"did you mean {group}={close[0]}? There" if close else "there"
        return f"{group}={name}: there is no such choice; {hint} are {', '.join(error.options)}"
    several = re.match(r"Ambiguous value for argument '([^']+)'", str(error))
    if several is not None:
        key, _, value = several[1].partition("=")
        return (
            f"{several[1]}: values separated by commas are a sweep: add -m; a single value with a comma in it needs "
            f"quotes twice, as in \"{key}='{value}'\""
        )
    bare = re.match(r"Error parsing override '([^']+)'\s+missing EQUAL", str(error))
    if bare is not None:
        groups = [f"{group}={bare[1]}" for group in default_choices(conf) if bare[1] in choices(conf, group)]
        return f"{bare[1]}: a setting is written KEY=VALUE, as in {' or '.join(groups) or 'dry_run=true'}"
    missing = re.match(r"Could not (?:override|delete)[^']*'([^']+)'", str(error))
    if missing is not None and not missing[1].startswith("hydra"):
        return _no_such_key(missing[1], arguments, conf)
    there = re.search(r"An item is already at '([^']+)'", str(error))
    if there is not None:
        return f"+{there[1]}: there is such a key already; write {there[1]}=... without +"
    return in_short(error)


def _no_such_key(key: str, arguments: Sequence[str], conf: Path) -> str:
    message = f"{key}: there is no such key"
    existing = existing_keys(conf, arguments)
    group, _, last = key.partition(".")
    if group in existing:
        having = [name for name in choices(conf, group) if last in keys_of_choice(conf, group, name)]
        chosen = dict(pairs(arguments)).get(group, default_choices(conf)[group])
        if having:
            return f"{message} with {group}={chosen}; there is with {group}={', '.join(having)}"
    meant = [each for each in nearest(key, existing) if each != group]
    value = dict(pairs(arguments)).get(key)
    shown = [f"{each}={value}" if value in choices(conf, each) else each for each in meant]
    return message + (f"; did you mean {' or '.join(shown)}?" if shown else "; --help lists what people change first")


def in_short(error: Exception) -> str:
    """The messages of Hydra's error and of its cause in one line, without internals and the advice to append with +."""
    parts: list[str] = []
    for line in f"{error}\n{error.__cause__ or ''}".splitlines():
        said = line.strip().rstrip(".")
        if not said or said.startswith((*INTERNAL, "To append to your config")) or said in parts:
            continue
        if line.startswith("\t") and parts:  # a list of choices
            parts[-1] += f"{' ' if parts[-1].endswith(':') else ', '}{said}"
        else:
            parts.append(said)
    return "; ".join(parts)
