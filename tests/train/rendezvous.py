"""A hook of Hydra with which a test sees that jobs of a sweep run at the same time, on any machine."""

import time
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig


class Rendezvous(Callback):
    """Each job waits at its start until another one has started, too, and writes down that it met one.

    Jobs that run one after another never meet: the first of them gives up after ``seconds``.
    """

    def __init__(self, directory: str, seconds: float = 90) -> None:
        self.directory, self.seconds = Path(directory), seconds

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        job = config.hydra.job.num
        (self.directory / f"{job}.here").touch()
        end = time.monotonic() + self.seconds
        while time.monotonic() < end:
            if len(list(self.directory.glob("*.here"))) > 1:
                (self.directory / f"{job}.met").touch()
                return
            time.sleep(0.05)
