"""What stands between Hydra and a run: a user's mistake is one message, every other exception keeps its traceback."""

import sys
from collections.abc import Callable
from typing import NoReturn, TypeVar

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from unrolled.errors import UserError
from unrolled.runs.devices import silent_arguments, speaks
from unrolled.runs.resume import resumed_arguments
from unrolled.runs.sweep import run_job

T = TypeVar("T")


def guarded(task: Callable[[DictConfig], T], config: DictConfig) -> T | None:
    """Run ``task``; a UserError ends a single run with its message and status 2; in a sweep, failures are noted."""
    if HydraConfig.get().mode == RunMode.MULTIRUN:
        return run_job(task, config)
    try:
        return task(config)
    except UserError as error:
        stop(error)


def command_line() -> None:
    """Turn `resume=` into the arguments that the run was started with; quiet all of a run's processes but the first."""
    try:
        sys.argv[1:] = [*resumed_arguments(sys.argv[1:]), *silent_arguments()]
    except UserError as error:
        stop(error)


def stop(error: UserError) -> NoReturn:
    """End the process with the message and status 2; of several processes on a machine one speaks."""
    if speaks():
        sys.stderr.write(f"error: {error}\n")
    sys.exit(2)
