"""Jobs of a sweep (`python train.py -m ...`) and its summary."""

import gc
import json
import logging
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from unrolled.errors import UserError
from unrolled.files import write_atomically
from unrolled.train.environment import PARALLEL_VARIABLE
from unrolled.train.record import describe_error
from unrolled.train.results import RunResult, config_hash, find_runs

log = logging.getLogger(__name__)
T = TypeVar("T")

JOBS = "jobs"  # in the sweep's directory: a note per job
SAME_AS = "same_as.txt"  # in the directory of a job that was not done again: the run that has its results


def run_job(task: Callable[[DictConfig], T], config: DictConfig) -> T | None:
    """Run one job of a sweep from a clean state; leave a note of it; None where it failed.

    A failure is printed and noted, not raised: Hydra would end the sweep without its summary. Interrupts go through.
    """
    hydra = HydraConfig.get()
    directory = Path(hydra.runtime.output_dir)
    note: dict[str, Any] = {"overrides": list(hydra.overrides.task), "run": str(directory), "error": None}
    notes = Path(hydra.sweep.dir) / JOBS
    notes.mkdir(parents=True, exist_ok=True)
    value = None
    with preserved_state(jobs_at_once(hydra.launcher)):
        try:
            value = task(config)
        except Exception as error:
            note["error"] = describe_error(error)
            if not isinstance(error, UserError):
                log.error("".join(traceback.format_exception(error)))
            if note["error"] not in [json.loads(file.read_text())["error"] for file in notes.glob("*.json")]:
                sys.stderr.write(f"error: {note['error']}\n")  # once; the summary says in which jobs
    if (directory / SAME_AS).is_file():
        note["run"], note["skipped"] = (directory / SAME_AS).read_text().strip(), True
    write_atomically(notes / f"{hydra.job.num}.json", json.dumps(note, indent=2) + "\n")
    return value


def jobs_at_once(launcher: Mapping[str, Any]) -> int:
    """How many jobs the chosen launcher runs side by side on this machine, as far as it can be told."""
    name = str(launcher.get("_target_")).rpartition(".")[2]
    cores = os.cpu_count() or 1
    if name == "JoblibLauncher":
        jobs = int(launcher["n_jobs"])
        return jobs if jobs > 0 else cores
    return cores if name == "LocalLauncher" else 1  # submitit on this machine starts all of them at once


@contextmanager
def preserved_state(jobs: int = 1) -> Iterator[None]:
    """Put back what a job sets for the whole process: threads, precision of products, determinism, variables.

    jobs: how many run at the same time on this machine. With more than one a job starts with its share of the cores,
    and the environment variable UNROLLED_PARALLEL_JOBS says so to whoever takes timings.
    """
    threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    deterministic = torch.are_deterministic_algorithms_enabled()
    cudnn = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    variables = {name: os.environ.get(name) for name in ("PL_GLOBAL_SEED", "PL_SEED_WORKERS", PARALLEL_VARIABLE)}
    if jobs > 1:
        os.environ[PARALLEL_VARIABLE] = str(jobs)
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // jobs))
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.set_float32_matmul_precision(precision)
        torch.use_deterministic_algorithms(deterministic)
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = cudnn
        for name, before in variables.items():
            os.environ.pop(name, None)
            if before is not None:
                os.environ[name] = before
        gc.collect()  # a trainer and its callbacks refer to each other: free the model before the next one is built
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def skip_finished(root: Path, config: Mapping[str, Any], directory: Path) -> RunResult | None:
    """The newest run under ``root`` that ended well with this very configuration, seed included; None: there is work.

    It is noted in the job's ``directory``. ``config`` is as composed: what a recipe would decide is `auto` here, and
    was so when the run was started.
    """
    wanted = config_hash(config)
    try:
        runs = find_runs([root])
    except UserError:
        return None  # nothing has run yet
    done = next((run for run in reversed(runs) if run.status == "ok" and run.asked_hash == wanted), None)
    if done is not None:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / SAME_AS).write_text(f"{done.directory.resolve()}\n")
    return done
