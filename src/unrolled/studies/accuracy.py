"""Accuracy of several ways to train on several data sets: the whole of such a study."""

import argparse
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from unrolled.compare.significance import compare_configurations
from unrolled.studies.study import Report, run_study
from unrolled.studies.table import StudyTable, spread
from unrolled.studies.trainings import Training, train_all
from unrolled.train.columns import clock
from unrolled.train.results import RunResult


@dataclass(frozen=True)
class Row:
    """The runs of one way on one data set."""

    data: str
    way: str
    seeds: tuple[int, ...]
    test_accuracy: tuple[float, ...]  # of each seed
    macro_f1: tuple[float, ...]
    valid_accuracy: tuple[float, ...]
    p: float | None  # McNemar's, against the first way
    parameters: int
    tokens_per_second: float | None  # median
    seconds: float  # median wall time of a run
    epochs: tuple[int, ...]  # that were read


@dataclass(frozen=True)
class Plan:
    """What is trained on one data set."""

    ways: Sequence[str]  # the others are compared with the first
    seeds: Sequence[int]


def run_accuracy_study(
    script: str, description: str, ways: Mapping[str, Sequence[str]], plans: Mapping[str, Plan], text: str
) -> None:
    """Train what ``plans`` says of each data set, as the command line says.

    script: the study's file; ways: names with what they change of the default training; text: what the report says
    below the table of how the figures came about.
    """

    def study(arguments: argparse.Namespace) -> Report:
        if arguments.quick:
            few = ("data.max_tokens=50", "model.hidden_size=4", "trainer.max_epochs=1")
            quick = {"gru": ("model=gru", *few), "rnn": ("model=rnn", *few)}
            rows = measure(quick, {"book_excerpts": Plan(list(quick), (1, 2))}, arguments.runs, arguments.jobs)
        else:
            rows = measure(ways, plans, arguments.runs, arguments.jobs)
        command = f"python experiments/{Path(script).parent.name}/run.py --jobs {arguments.jobs}"
        made = f"Made by `{command}` with torch {torch.__version__}, one thread per run. "
        return Report(table(rows), rows, made + text, {"jobs": arguments.jobs})

    run_study(script, study, description, quick="two small models on the beginnings of 101 documents, one epoch")


def measure(ways: Mapping[str, Sequence[str]], plans: Mapping[str, Plan], runs: Path, jobs: int) -> list[Row]:
    """The runs of each way on each data set with each seed that is planned, trained unless they are there."""
    names = [(data, way, seed) for data, plan in plans.items() for way in plan.ways for seed in plan.seeds]
    trainings = [
        Training(f"{data}_{way}_s{seed}".replace(" ", "_"), ("recipe=auto", f"data={data}", *ways[way], f"seed={seed}"))
        for data, way, seed in names
    ]
    found = dict(zip(names, train_all(trainings, runs, jobs), strict=True))
    rows = []
    for data, plan in plans.items():
        first = [found[data, plan.ways[0], seed] for seed in plan.seeds]
        for way in plan.ways:
            own = [found[data, way, seed] for seed in plan.seeds]
            rows.append(_row(data, way, own, first if way != plan.ways[0] else []))
    return rows


def _row(data: str, way: str, own: Sequence[RunResult], first: Sequence[RunResult]) -> Row:
    speeds = [speed for run in own if (speed := run.speed.get("tokens_per_second")) is not None]
    return Row(
        data=data,
        way=way,
        seeds=tuple(run.config["seed"] for run in own),
        test_accuracy=tuple(run.metrics["test/accuracy"] for run in own),
        macro_f1=tuple(run.metrics["test/macro_f1"] for run in own),
        valid_accuracy=tuple(run.metrics["val/accuracy"] for run in own),
        p=compare_configurations(own, first) if first else None,
        parameters=own[0].parameters["total"],
        tokens_per_second=statistics.median(speeds) if speeds else None,
        seconds=statistics.median(run.wall_time_s or 0.0 for run in own),
        epochs=tuple(len(run.history) for run in own),
    )


def table(rows: Sequence[Row]) -> StudyTable:
    """A line per data set and way: mean and range of the error over the seeds, and what it costs."""
    header = ["data", "way", "error %", "macro F1 %", "validation error %", "parameters", "tokens/s", "time", "p"]
    lines = []
    for row in rows:
        errors = [100 * (1 - accuracy) for accuracy in row.test_accuracy]
        lines.append(
            [
                row.data,
                row.way,
                spread(errors, 2),
                f"{100 * statistics.mean(row.macro_f1):.2f}",
                f"{100 * (1 - statistics.mean(row.valid_accuracy)):.2f}",
                f"{row.parameters:,}",
                "" if row.tokens_per_second is None else f"{row.tokens_per_second:,.0f}",
                clock(row.seconds),
                "" if row.p is None else f"{row.p:.2g}",
            ]
        )
    return StudyTable(header, lines, names=2)
