"""Resuming a run from the command line: `python train.py resume=<directory>`."""

import fcntl
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf, open_dict

from unrolled.arguments import quoted
from unrolled.config import checked
from unrolled.errors import UserError
from unrolled.train.results import RunResult, load_result

KEY = "resume"
NOT_OF_THE_RUN = (KEY, "choices")  # keys of the config that are set anew


def resumed_arguments(arguments: Sequence[str]) -> list[str]:
    """The command line that started the run which ``resume=`` names, with its directory to write to.

    Without ``resume=`` the arguments come back unchanged.

    Raises:
        UserError: there is no such run, or another argument contradicts its settings
    """
    overrides = [text for text in arguments if (not text.startswith("-") and "=" in text) or text.startswith("~")]
    flags = [text for text in arguments if text not in overrides]
    given = OverridesParser.create().parse_overrides(overrides)
    named = [override.value() for override in given if override.key_or_group == KEY]
    if not named or named[-1] is None:
        return list(arguments)
    if {"-m", "--multirun"} & set(flags):
        raise UserError(
            f"{KEY}={named[-1]}: resumes a single run; leave out -m (to continue a sweep, repeat its command)"
        )
    run = load_result(str(named[-1]))
    directory = run.directory.resolve()
    saved = _saved(directory / ".hydra" / "overrides.yaml")
    choices = _saved(directory / ".hydra" / "hydra.yaml")["hydra"]["runtime"]["choices"]
    hydra = []
    for override in given:
        if override.key_or_group.startswith("hydra"):
            hydra.append(override.input_line)
        elif override.key_or_group != KEY and override.input_line not in saved:
            _agree(override, choices, run, saved)
    log_alone = [f"hydra.run.dir={quoted(directory)}", "hydra.output_subdir=null"]  # is what Hydra writes there
    return [*flags, *saved, *hydra, f"{KEY}={quoted(directory)}", *log_alone]


def restore_settings(config: DictConfig, run: RunResult) -> None:
    """Give ``config``, composed with the same arguments, the very values that ``run`` had: conf/ may have changed."""
    with open_dict(config):
        for key, value in run.config.items():
            if key not in NOT_OF_THE_RUN:
                config[key] = value
        config[KEY] = None
        config.choices = run.config.get("choices")
    try:
        checked(config)
    except UserError as error:
        raise UserError(
            f"{KEY}={run.directory}: {error}; the run was started by another version of this program, "
            "resume it with that version"
        ) from error


@contextmanager
def exclusive_access(directory: Path) -> Iterator[None]:
    """Keep other processes out of a run's directory. Raises UserError where one is at work in it."""
    directory.mkdir(parents=True, exist_ok=True)
    handle = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise UserError(f"{directory}: another process is at work on this run; wait for it or end it") from None
    except OSError:
        pass  # a file system without locks
    try:
        yield
    finally:
        os.close(handle)


def _agree(override: Override, choices: Mapping[str, Any], run: RunResult, started_with: Sequence[str]) -> None:
    key, value = override.key_or_group, override.value()
    saved = OmegaConf.create(run.config)
    there: Any = choices[key] if key in choices else OmegaConf.select(saved, key, default="not set")
    if override.is_delete() or str(value) != str(there):
        shown = "null" if there is None else there
        if run.status == "ok":
            kept = [text for text in started_with if text.lstrip("+").partition("=")[0] != key]
            raise UserError(
                f"{override.input_line}: {run.directory} is finished, where {key}={shown}, and has kept its weights "
                "alone, with which training does not go on; a new run with its settings but this one is "
                f"{shlex.join(['python', 'train.py', *kept, str(override.input_line)])}"
            )
        raise UserError(
            f"{override.input_line}: {KEY}= continues that run with its own settings, where {key}={shown}; "
            f"leave {key} out, or start a new run without {KEY}="
        )


def _saved(file: Path) -> Any:
    try:
        content = OmegaConf.load(file)
    except (OSError, ValueError) as error:
        raise UserError(f"{file}: {error}; without this file the run cannot be resumed; start it again") from error
    plain = OmegaConf.to_container(content)
    if isinstance(plain, list):
        return [text for text in plain if not str(text).startswith((f"{KEY}=", "hydra."))]
    return plain
