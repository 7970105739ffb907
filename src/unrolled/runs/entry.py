"""What stands between Hydra and a run: a user's mistake is one message, every other exception keeps its traceback."""

import sys
from collections.abc import Callable
from typing import TypeVar

from hydra.core.hydra_config import HydraConfig
from hydra.errors import CompactHydraException
from hydra.types import RunMode
from omegaconf import DictConfig

from unrolled.errors import UserError

T = TypeVar("T")


class JobError(CompactHydraException):
    """A user's mistake in one job of a sweep; Hydra prints its message alone."""


def guarded(task: Callable[[DictConfig], T], config: DictConfig) -> T:
    """Run ``task``; a UserError ends a single run with its message and status 2, and one job of a sweep as failed."""
    try:
        return task(config)
    except UserError as error:
        if HydraConfig.get().mode == RunMode.MULTIRUN:
            raise JobError(str(error)) from error
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)
