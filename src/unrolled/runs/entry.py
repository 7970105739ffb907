"""What stands between Hydra and a run: a user's mistake is one message, every other exception keeps its traceback."""

import sys
from collections.abc import Callable
from typing import TypeVar

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from unrolled.errors import UserError
from unrolled.runs.sweep import run_job

T = TypeVar("T")


def guarded(task: Callable[[DictConfig], T], config: DictConfig) -> T | None:
    """Run ``task``; a UserError ends a single run with its message and status 2; in a sweep, failures are noted."""
    if HydraConfig.get().mode == RunMode.MULTIRUN:
        return run_job(task, config)
    try:
        return task(config)
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)
