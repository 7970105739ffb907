"""Runs of train.py for a study, each in a process of its own so that its peak memory is its own."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from unrolled.errors import UserError
from unrolled.places import PROJECT
from unrolled.train.results import RESULTS_FILE, RunResult, load_result

ALWAYS = ("threads=1", "callbacks.progress_bar=null", "callbacks.examples=null")


@dataclass(frozen=True)
class Training:
    """A run: its name in directories, TensorBoard and messages, and what it changes of the default settings.

    The recipe is `fixed`, and without the linear baseline, unless the overrides name another one.
    """

    name: str
    overrides: tuple[str, ...]

    @property
    def settings(self) -> tuple[str, ...]:
        recipe = () if any(each.startswith("recipe=") for each in self.overrides) else ("recipe=fixed", "baseline=null")
        return (*ALWAYS, *recipe, *self.overrides)

    def directory(self, folder: Path) -> Path:
        """The directory of this run in ``folder``; other settings have another one."""
        settings = "\n".join(self.settings)
        return folder / f"{self.name}-{hashlib.sha256(settings.encode()).hexdigest()[:8]}"


def train_all(
    trainings: Sequence[Training], folder: Path, jobs: int = 1, say: Callable[[str], object] = print
) -> list[RunResult]:
    """Train all of them, ``jobs`` at a time, on one thread each, and return their records in the same order.

    Runs that are finished in ``folder`` are not repeated, interrupted ones go on from their last checkpoint. Raises
    UserError with the message of the first run that fails, after those that are under way have ended.
    """
    trainings = list(dict.fromkeys(trainings))
    waiting = [training for training in trainings if finished(training.directory(folder)) is None]
    if len(waiting) < len(trainings):
        say(f"already finished, not run again: {len(trainings) - len(waiting)} of {len(trainings)} runs")
    with ThreadPoolExecutor(jobs) as pool:
        futures = {pool.submit(train_apart, training, folder): training for training in waiting}
        try:
            for done, future in enumerate(as_completed(futures), 1):
                result = future.result()
                accuracy = 100 * result.metrics["test/accuracy"]
                say(
                    f"{done}/{len(waiting)}  {futures[future].name}: test accuracy {accuracy:.1f} %, "
                    f"{result.wall_time_s:.0f} s"
                )
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [load_result(training.directory(folder)) for training in trainings]


def finished(directory: Path) -> RunResult | None:
    """The record in ``directory`` if it holds a finished run."""
    if not (directory / RESULTS_FILE).is_file():
        return None
    result = load_result(directory)
    return result if result.status == "ok" else None


def train_apart(training: Training, folder: Path) -> RunResult:
    """One run in a process of its own. Raises UserError with the last line of its output if it fails."""
    directory = training.directory(folder)
    if (directory / RESULTS_FILE).is_file():
        changes = [f"resume={directory}"]
    else:
        changes = [*training.settings, f"name={training.name}", f"hydra.run.dir={directory}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(PROJECT / "train.py"), *changes]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    result = finished(directory)
    if done.returncode or result is None:
        said = (done.stderr.strip() or done.stdout.strip() or "nothing").splitlines()[-1]
        raise UserError(
            f"{training.name} ended with status {done.returncode} and said: {said}; its directory is {directory}, "
            "and the study's command goes on from there when it is repeated"
        )
    return result
