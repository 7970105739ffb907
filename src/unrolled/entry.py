"""What stands between Hydra and a run: a user's mistake is one message, every other exception keeps its traceback."""

import logging
import os
import sys
from collections.abc import Callable
from typing import NoReturn, TypeVar

from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from unrolled.errors import UserError
from unrolled.train.devices import is_first_on_node, overrides_of_rank
from unrolled.train.resume import quote_names, resumed_arguments
from unrolled.train.sweep import run_job

log = logging.getLogger(__name__)

T = TypeVar("T")


def guarded(task: Callable[[DictConfig], T], config: DictConfig) -> T | None:
    """Run ``task``; a UserError ends a single run with its message and status 2; in a sweep, failures are noted."""
    if HydraConfig.get().mode == RunMode.MULTIRUN:
        return run_job(task, config)
    try:
        return task(config)
    except UserError as error:
        note(error)
        stop(error)


def note(error: UserError) -> None:
    """Put the message into the run's log, too; the terminal gets it from `stop`."""
    record = log.makeRecord(log.name, logging.ERROR, __file__, 0, str(error), (), None)
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.FileHandler):
            handler.handle(record)


def command_line() -> None:
    """Turn `resume=` into the arguments that the run was started with; quiet all of a run's processes but the first."""
    try:
        sys.argv[1:] = [*resumed_arguments(quote_names(sys.argv[1:])), *overrides_of_rank()]
    except UserError as error:
        stop(error)


def launch(main: Callable[[], object]) -> None:
    """Call Hydra's ``main``; what Hydra finds wrong with the command line is one message, too, with status 2.

    HYDRA_FULL_ERROR=1 shows Hydra's own report with its traceback instead.
    """
    in_full = os.environ.get("HYDRA_FULL_ERROR", "0") != "0"
    os.environ["HYDRA_FULL_ERROR"] = "1"  # or Hydra prints and exits before we are asked
    command_line()
    try:
        main()
    except (HydraException, OmegaConfBaseException) as error:
        if in_full:
            raise
        stop(UserError(in_short(error)))
    except ValueError as error:
        if "No trials are completed" not in str(error):  # what optuna says when it has nothing to choose from
            raise
        stop(UserError("every trial of the search failed; the message of each stands above"))


INTERNAL = ("full_key:", "object_type=", "reference_type=", "Config search path", "provider=", "See https:")


def in_short(error: Exception) -> str:
    """What Hydra says, and what made it say so, in one line and without its internals."""
    parts: list[str] = []
    for line in f"{error}\n{error.__cause__ or ''}".splitlines():
        said = line.strip().rstrip(".")
        if not said or said.startswith(INTERNAL) or said in parts:
            continue
        if line.startswith("\t") and parts:  # a list of choices
            parts[-1] += f"{' ' if parts[-1].endswith(':') else ', '}{said}"
        else:
            parts.append(said)
    return "; ".join(parts)


def stop(error: UserError) -> NoReturn:
    """End the process with the message and status 2; of several processes on a machine one speaks."""
    if is_first_on_node():
        sys.stderr.write(f"error: {error}\n")
    sys.exit(2)
