"""Table of a sweep (`python train.py -m ...`) at its end, and a check of Hydra's plugins at its beginning."""

import importlib
import json
import sys
from pathlib import Path
from typing import Any, ClassVar

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from unrolled.arguments import counted
from unrolled.console import say, wide_console
from unrolled.errors import UserError
from unrolled.train.results import load_result

EXTRAS = {  # plugin of Hydra -> optional dependency of this project that brings it
    "hydra_joblib_launcher": "parallel",
    "hydra_submitit_launcher": "cluster",
    "hydra_optuna_sweeper": "search",
}


class SweepSummary(Callback):
    """Hydra callback that prints a table of all runs of a sweep; exit status 1 if a job failed."""

    directory: ClassVar[str | None] = None  # of the sweep of this process, once it has begun

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Stop with one message if the chosen launcher or sweeper is not installed."""
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
        type(self).directory = OmegaConf.select(config, "hydra.sweep.dir")

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        notes = read_notes(Path(config.hydra.sweep.dir))
        if not notes:
            return
        failed = print_summary(notes, wide_console())
        if failed:
            raise SystemExit(1)


def read_notes(sweep: Path) -> list[dict[str, Any]]:
    """The notes of all jobs in the sweep directory, in the order of their numbers."""
    from unrolled.train.sweep import JOBS  # imports torch, and every command of training imports this file

    files = sorted((sweep / JOBS).glob("*.json"), key=lambda file: int(file.stem))
    return [json.loads(file.read_text()) | {"number": int(file.stem)} for file in files]


def print_summary(notes: list[dict[str, Any]], console: Console) -> int:
    """Print the runs of a sweep side by side, and what was skipped or failed; how many failed."""
    from unrolled.compare.comparison import compare  # slow to import, like torch
    from unrolled.compare.report import print_table

    runs = []
    for note in notes:
        try:
            runs.append(load_result(note["run"]))
        except UserError:
            continue  # stopped before it became a run: its note has the error
    console.print()
    if any(run.status == "ok" for run in runs):
        unique = {run.directory.resolve(): run for run in runs}
        comparison = compare(list(unique.values()))
        comparison.not_ok = []  # they are listed below, with their overrides
        print_table(comparison, console)
    failed = [note for note in notes if note["error"] is not None]
    skipped = [note for note in notes if note.get("skipped")]
    done = len(notes) - len(failed) - len(skipped)
    counts = [f"{done} finished now"]
    counts += [f"{len(skipped)} already finished"] if skipped else []
    counts += [f"{len(failed)} failed"] if failed else []
    say(console, f"\n{counted(len(notes), 'job')}: {', '.join(counts)}")
    for error in dict.fromkeys(note["error"] for note in failed):
        same = [note for note in failed if note["error"] == error]
        jobs = ", ".join(str(note["number"]) for note in same)
        which = f"job {jobs} ({' '.join(same[0]['overrides'])})" if len(same) == 1 else f"jobs {jobs}"
        say(console, f"  {which}: {error}")
    if failed:
        say(console, "Repeat the command to run only what is not finished.")
    return len(failed)
