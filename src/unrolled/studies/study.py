"""Command line of a study, and its report: raw numbers, a plot, and a table in its README."""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from matplotlib.figure import Figure

from unrolled.cli.terminal import run_script
from unrolled.files import write_atomically
from unrolled.places import PROJECT
from unrolled.studies.table import StudyTable, write_between_marks


@dataclass(frozen=True)
class Report:
    """What a study found. ``rows`` are dataclasses, one per measurement, from which the table is made."""

    table: StudyTable
    rows: Sequence[Any]
    text: str  # below the table: how the numbers were measured
    about: Mapping[str, Any] = field(default_factory=dict)  # what results.json holds beside rows and torch's version
    plot: Figure | None = None
    picture: str = ""  # file of the plot
    caption: str = ""  # of the plot
    csv: bool = False  # whether the rows are written to results.csv, too
    faults: Sequence[str] = ()  # results that must not be: each is printed, and the study ends with status 1

    def write(self, folder: Path) -> None:
        """results.json (and results.csv), the plot, and the table between the marks of README.md."""
        folder.mkdir(parents=True, exist_ok=True)
        raw = {"torch": torch.__version__, **self.about, "rows": [asdict(row) for row in self.rows]}
        write_atomically(folder / "results.json", json.dumps(raw, indent=1) + "\n")
        if self.csv:
            write_atomically(folder / "results.csv", pd.DataFrame(self.rows).to_csv(index=False))
        body = f"{self.table.markdown()}\n\n{self.text}"
        if self.plot is not None:
            self.plot.savefig(folder / self.picture, dpi=120)
            body += f"\n\n![{self.caption}]({self.picture})"
        write_between_marks(folder / "README.md", body)


def run_study(
    script: str,
    study: Callable[[argparse.Namespace], Report],
    description: str,
    quick: str,
    trains: bool = True,
    files: str | None = None,
) -> None:
    """Run ``study`` as the command line says, show its table and write its report.

    script: its file, in the folder that the report goes to; quick: what --quick does, for --help; trains: whether it
    runs train.py, so that it takes ``--jobs`` and ``--runs``, too; files: what files on the command line are, if any.
    """

    def main(words: Sequence[str]) -> None:
        parser = argparse.ArgumentParser(description=description)
        parser.add_argument("--quick", action="store_true", help=quick)
        if trains:
            parser.add_argument("--jobs", type=int, default=1, help="runs at a time, each on one thread")
            parser.add_argument(
                "--runs",
                type=lambda path: Path(path).resolve(),
                default=PROJECT / "runs" / "studies",
                help="folder for the runs themselves",
            )
        if files is not None:
            parser.add_argument("files", nargs="*", type=Path, help=files)
        parser.add_argument("--output", type=Path, help="folder for results.json, the plot and README.md")
        arguments = parser.parse_args(words)
        report = study(arguments)
        report.table.show()
        report.write(output_folder(Path(script).resolve().parent, arguments.output, arguments.quick))
        for fault in report.faults:
            sys.stderr.write(f"error: {fault}\n")
        if report.faults:
            raise SystemExit(1)

    run_script(main)


def output_folder(study: Path, given: Path | None, quick: bool) -> Path:
    """Where the study in folder ``study`` writes: to ``given``, else to its own folder.

    A quick one shows that the study works, not a result, and leaves the results alone: it writes to ``runs/studies``.
    """
    if given is not None:
        return given
    return study.parents[1] / "runs" / "studies" / f"quick_{study.name}" if quick else study
