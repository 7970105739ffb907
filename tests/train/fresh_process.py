"""Our scripts in a process of their own that starts at once: one that has imported everything is forked."""

import multiprocessing
import os
import runpy
import subprocess
import sys
from collections.abc import Callable
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

ROOT = Path(__file__).parents[2]
PRELOADED = ["unrolled.train.run", "unrolled.cli.train", "pandas", "sklearn.svm", "torch.utils.tensorboard"]


def start(function: Callable[..., None], *arguments: Any) -> ForkServerProcess:
    """Call ``function``, which its module must offer under its name, in a new process."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
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
    with output.open("a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    _run(["train.py", *arguments])


def forked(*arguments: str, timeout: float = 240, input: str = "") -> "subprocess.CompletedProcess[str]":
    """As `program` of conftest.py, without the seconds that imports take: for all that does not test the start.

    Modules are found where this process finds them.
    """
    with TemporaryDirectory() as folder:
        places = [Path(folder) / name for name in ("input", "output", "errors")]
        places[0].write_text(input)
        process = start(_script, arguments, places, dict(os.environ))
        process.join(timeout)
        status = process.exitcode
        process.kill()
        assert status is not None, f"{arguments} has not ended after {timeout} seconds"
        return subprocess.CompletedProcess(arguments, status, *(place.read_text() for place in places[1:]))


def _script(arguments: tuple[str, ...], places: list[Path], environment: dict[str, str]) -> None:
    os.environ |= environment | {"OMP_NUM_THREADS": "1", "COLUMNS": "120"}
    torch.set_num_threads(1)
    for descriptor, place in enumerate(places):
        with place.open("r" if descriptor == 0 else "w") as file:
            os.dup2(file.fileno(), descriptor)
    sys.stdin = os.fdopen(0, closefd=False)
    _run(list(arguments))


def _run(arguments: list[str]) -> None:
    os.chdir(ROOT)
    sys.argv = arguments
    sys.path.insert(0, str(Path(arguments[0]).resolve().parent))  # as Python does
    runpy.run_path(arguments[0], run_name="__main__")
