"""Seconds of the processor until the programs answer, and until the first optimizer step of a run."""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from unrolled.places import PROJECT

TRAIN = ("train.py", "data=reuters_r8", "model=lstmp", "trainer.accelerator=cpu")


class EndAtFirstStep(Callback):
    """Ends the process as soon as the first optimizer step has been taken: what comes later is no start."""

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        os._exit(0)


@dataclass
class Start:
    """A command, and what it took to answer, each time it was run."""

    arguments: list[str]
    given: str = ""  # on standard input
    status: int = 0  # that it is expected to exit with
    cpu_seconds: list[float] = field(default_factory=list)  # of all threads, in Python and in the kernel
    wall_seconds: list[float] = field(default_factory=list)

    def run(self) -> None:
        """Once more. Raises RuntimeError where it ends otherwise than expected."""
        with tempfile.TemporaryFile("w+") as errors, tempfile.TemporaryFile("w+") as given:
            given.write(self.given)
            given.seek(0)
            began = time.perf_counter()
            process = subprocess.Popen(
                [sys.executable, *self.arguments], cwd=PROJECT, stdin=given, stdout=subprocess.DEVNULL, stderr=errors
            )
            _, status, usage = os.wait4(process.pid, 0)
            seconds = time.perf_counter() - began
            process.returncode = os.waitstatus_to_exitcode(status)  # it has been waited for
            if process.returncode != self.status:
                errors.seek(0)
                raise RuntimeError(f"{self.arguments} ended with status {process.returncode}:\n{errors.read()}")
        self.cpu_seconds.append(usage.ru_utime + usage.ru_stime)
        self.wall_seconds.append(seconds)


def measure(repetitions: int) -> dict[str, dict[str, Any]]:
    """Every command ``repetitions`` times, in turn, in processes of their own, with the medians.

    A short training comes first, on which the data are cached and which `predict.py` uses. Processor time tells more
    than the clock on a machine that others use.
    """
    with tempfile.TemporaryDirectory() as directory:
        short = ("trainer.max_steps=1", "trainer.limit_val_batches=0", "trainer.limit_test_batches=1")
        Start([*TRAIN, "threads=1", *short, f"output_dir={directory}/trained"]).run()
        first_step = f"+callbacks.end._target_={EndAtFirstStep.__module__}.{EndAtFirstStep.__name__}"
        starts = {
            "train.py --help": Start(["train.py", "--help"]),
            "train.py with a misspelt key": Start(["train.py", "model.hiden_size=3"], status=2),
            "compare.py --help": Start(["compare.py", "--help"]),
            "predict.py on one line": Start(["predict.py", f"run={directory}/trained/latest"], "wheat prices rose\n"),
            "train.py to the first optimizer step": Start(
                [*TRAIN, "threads=1", first_step, f"output_dir={directory}/started"]
            ),
        }
        for _ in range(repetitions):
            for start in starts.values():
                start.run()
    return {
        name: {
            "cpu": statistics.median(start.cpu_seconds),
            "wall": statistics.median(start.wall_seconds),
            **asdict(start),
        }
        for name, start in starts.items()
    }
