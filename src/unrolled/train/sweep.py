"""Sweeps (`python train.py -m ...`): a failing job stops no other, what is finished is not done again."""

import gc
import importlib
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
from hydra.experimental.callback import Callback
from omegaconf import DictConfig
from rich.console import Console

from unrolled.compare.comparison import compare
from unrolled.compare.report import print_table
from unrolled.errors import UserError
from unrolled.train.environment import PARALLEL_VARIABLE
from unrolled.train.results import RunResult, config_hash, describe_error, find_runs, load_result, write_atomically

log = logging.getLogger(__name__)
T = TypeVar("T")

EXTRAS = {  # plugin of Hydra -> optional dependency of this project that brings it
    "hydra_joblib_launcher": "parallel",
    "hydra_submitit_launcher": "cluster",
    "hydra_optuna_sweeper": "search",
}
JOBS = "jobs"  # in the sweep's directory: a note per job
SAME_AS = "same_as.txt"  # in the directory of a job that was not done again: the run that has its results


def run_job(task: Callable[[DictConfig], T], config: DictConfig) -> T | None:
    """Run one job of a sweep from a clean state; leave a note of it; None where it failed.

    A failure is printed and noted, not raised: Hydra would end the sweep without its summary. Interrupts go through.
    """
    hydra = HydraConfig.get()
    directory = Path(hydra.runtime.output_dir)
    note: dict[str, Any] = {"overrides": list(hydra.overrides.task), "run": str(directory), "error": None}
    value = None
    with preserved_state(jobs_at_once(hydra.launcher)):
        try:
            value = task(config)
        except Exception as error:
            note["error"] = describe_error(error)
            if not isinstance(error, UserError):
                log.error("".join(traceback.format_exception(error)))
            sys.stderr.write(f"error: {note['error']}\n")
    if (directory / SAME_AS).is_file():
        note["run"], note["skipped"] = (directory / SAME_AS).read_text().strip(), True
    notes = Path(hydra.sweep.dir) / JOBS
    notes.mkdir(parents=True, exist_ok=True)
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


def finished_run(root: Path, config: Mapping[str, Any]) -> RunResult | None:
    """The newest run under ``root`` that ended well with this very configuration, seed included."""
    wanted = config_hash(config)
    try:
        runs = find_runs([root])
    except UserError:
        return None  # nothing has run yet
    return next((run for run in reversed(runs) if run.status == "ok" and run.config_hash == wanted), None)


def skip_finished(root: Path, config: Mapping[str, Any], directory: Path) -> RunResult | None:
    """In a sweep: the finished run with this configuration, noted in the job's ``directory``; None: there is work.

    A single run is always done, whatever there is.
    """
    done = finished_run(root, config)
    if done is not None:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / SAME_AS).write_text(f"{done.directory.resolve()}\n")
    return done


class SweepSummary(Callback):
    """Hydra's hook for the end of a sweep: a table of all its runs; exit status 1 where a job failed."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Stop in one sentence where a launcher or sweeper was chosen that is not installed."""
        for part in ("launcher", "sweeper"):
            module = str(config.hydra[part].get("_target_")).rpartition(".")[0]
            extra = next((extra for plugin, extra in EXTRAS.items() if plugin in module), None)
            if extra is not None:
                try:
                    importlib.import_module(module)
                except ImportError as error:
                    choice = config.hydra.runtime.choices[f"hydra/{part}"]
                    sys.stderr.write(
                        f"error: hydra/{part}={choice} needs a package that is not installed ({error}); run "
                        f"`pip install -e '.[{extra}]'`\n"
                    )
                    raise SystemExit(2) from None

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        notes = read_notes(Path(config.hydra.sweep.dir))
        if not notes:
            return
        failed = print_summary(notes, Console(width=None if sys.stdout.isatty() else 240))
        if failed:
            raise SystemExit(1)


def read_notes(sweep: Path) -> list[dict[str, Any]]:
    """The notes of all jobs in the sweep directory, in the order of their numbers."""
    files = sorted((sweep / JOBS).glob("*.json"), key=lambda file: int(file.stem))
    return [json.loads(file.read_text()) | {"number": int(file.stem)} for file in files]


def print_summary(notes: list[dict[str, Any]], console: Console) -> int:
    """Print the runs of a sweep side by side, and what was skipped or failed; how many failed."""
    runs = []
    for note in notes:
        try:
            runs.append(load_result(note["run"]))
        except UserError:
            continue  # stopped before it became a run: its note has the error
    console.print()
    if runs:
        unique = {run.directory.resolve(): run for run in runs}
        comparison = compare(list(unique.values()))
        comparison.troubled = []  # they are listed below, with their overrides
        print_table(comparison, console)
    failed = [note for note in notes if note["error"] is not None]
    skipped = [note for note in notes if note.get("skipped")]
    done = len(notes) - len(failed) - len(skipped)
    counts = [f"{done} done now"]
    counts += [f"{len(skipped)} finished before and not done again"] if skipped else []
    counts += [f"{len(failed)} failed"] if failed else []
    console.print(f"\n{len(notes)} jobs: {', '.join(counts)}", highlight=False)
    for note in failed:
        line = f"  job {note['number']} ({' '.join(note['overrides'])}): {note['error']}"
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    if failed:
        console.print("The same command again does only what is not finished.", highlight=False)
    return len(failed)
