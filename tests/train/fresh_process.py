"""`python train.py` in a process of its own that starts at once: one that has imported everything is forked."""

import multiprocessing
import os
import runpy
import sys
from collections.abc import Callable
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def start(function: Callable[..., None], *arguments: Any) -> ForkServerProcess:
    """Call ``function``, which its module must offer under its name, in a new process."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["unrolled.train.run", "unrolled.cli"])
    process = context.Process(target=function, args=arguments)
    process.start()
    return process


def start_training(arguments: list[str], output: Path) -> ForkServerProcess:
    """`python train.py <arguments>`; what it prints goes to the end of ``output``."""
    return start(_train, arguments, output)


def finish_training(arguments: list[str], output: Path, seconds: float = 120) -> int | None:
    """The exit status; None where it has not ended in time."""
    process = start_training(arguments, output)
    process.join(seconds)
    status = process.exitcode
    process.kill()
    process.join()
    return status


def _train(arguments: list[str], output: Path) -> None:
    os.chdir(ROOT)
    with output.open("a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.argv = ["train.py", *arguments]
    runpy.run_path("train.py", run_name="__main__")
