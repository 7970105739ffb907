"""`python benchmark.py`: speeds as ratios, measured in one run."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from hydra import compose, initialize_config_dir
from rich.console import Console
from rich.table import Table

from unrolled.benchmarks import overhead, recurrences, start, threads
from unrolled.train.environment import describe_environment
from unrolled.train.results import write_atomically

CONF = Path(__file__).parents[3] / "conf"
WHAT = ("recurrences", "overhead", "start", "threads")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print a table and, with ``--output``, keep the raw numbers."""
    parser = argparse.ArgumentParser(
        prog="benchmark.py",
        description="Speed of the recurrences against torch.nn (recurrences), of training against a bare loop "
        "(overhead), of the programs' start (start), and of several threads on an idle and a busy machine (threads).",
    )
    parser.add_argument("what", nargs="?", default="recurrences", choices=WHAT)
    parser.add_argument("overrides", nargs="*", help="of the config, for overhead: model=gru data=reuters_r8")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default 1)")
    parser.add_argument("--repetitions", type=int, default=7, help="rounds, of which the median counts (default 7)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--output", type=Path, help="a JSON file for the raw numbers")
    parser.add_argument(
        "--overhead-steps", type=int, default=40, help="training steps per round, for threads, too (default 40)"
    )
    for name, default in vars(recurrences.Shapes()).items():
        parser.add_argument(f"--{name}", type=int, default=default, help=f"default {default}")
    given = parser.parse_intermixed_args(arguments)

    torch.set_num_threads(given.threads)
    device = torch.device(given.device)
    if given.what == "recurrences":
        shapes = recurrences.Shapes(**{name: getattr(given, name) for name in vars(recurrences.Shapes())})
        found: object = recurrences.measure(shapes, device, given.repetitions)
        _show_recurrences(found, shapes, given.threads)  # type: ignore[arg-type]
    elif given.what == "start":
        found = start.measure(given.repetitions)
        _show_start(found)
    elif given.what == "threads":
        found = threads.measure(given.threads, given.overhead_steps, given.repetitions)
        _show_threads(found)
    else:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            overrides = ["name=overhead", f"threads={given.threads}", "callbacks.progress_bar=null", *given.overrides]
            config = compose("config", overrides)
        measured = overhead.measure(config, given.overhead_steps, given.repetitions)
        found = measured
        for clock in ("wall", "cpu"):
            share: Any = measured[clock]
            Console(width=110).print(
                f"framework over a bare loop, {clock} time: {100 * share['overhead']:+.1f} % "
                f"({100 * share['overhead_low']:+.1f} to {100 * share['overhead_high']:+.1f})",
                highlight=False,
            )
        print(f"{measured['steps']} steps a round, {given.repetitions} rounds, {given.threads} threads")
    if given.output:
        environment = describe_environment(device)
        arguments_used = {name: value for name, value in vars(given).items() if name != "output"}
        text = json.dumps(
            {"arguments": arguments_used, "environment": environment, "measured": found}, indent=1, default=str
        )
        write_atomically(given.output, text + "\n")


def _show_recurrences(rows: list[dict[str, float | str]], shapes: recurrences.Shapes, threads: int) -> None:
    table = Table(
        title=f"tokens/s, forward and backward; K={shapes.steps}, B={shapes.batch}, E={shapes.features}, "
        f"H={shapes.hidden}, P={shapes.proj}; {threads} threads",
        title_justify="left",
        show_edge=False,
    )
    for column in ("recurrence", "lengths"):
        table.add_column(column)
    for column in ("handwritten", "torch.nn", "products alone", "handwritten / torch.nn"):
        table.add_column(column, justify="right")
    for row in rows:
        floor = row.get("floor_tokens_per_second")
        table.add_row(
            str(row["recurrence"]),
            str(row["batch"]),
            f"{row['ours_tokens_per_second']:,.0f}",
            f"{row['theirs_tokens_per_second']:,.0f}",
            "" if floor is None else f"{floor:,.0f}",
            f"{row['ratio']:.2f} ({row['ratio_low']:.2f} to {row['ratio_high']:.2f})",
        )
    Console(width=110).print(table)


def _show_start(starts: dict[str, dict[str, Any]]) -> None:
    table = Table(title="seconds, medians", title_justify="left", show_edge=False)
    table.add_column("command")
    for column in ("processor", "clock"):
        table.add_column(column, justify="right")
    for name, took in starts.items():
        table.add_row(name, f"{took['cpu']:.2f}", f"{took['wall']:.2f}")
    Console(width=110).print(table)


def _show_threads(found: dict[str, Any]) -> None:
    title = f"tokens/s of {found['threads']} threads by their way of waiting, with the share of what the cores can do"
    table = Table(title=title, title_justify="left", show_edge=False)
    table.add_column("waiting")
    for column in ("idle machine", "share", "one core taken", "share"):
        table.add_column(column, justify="right")
    for name, rates in found["medians"].items():
        share = found["share"][name]
        table.add_row(name, *(text for load in rates for text in (f"{rates[load]:,.0f}", f"{100 * share[load]:.0f} %")))
    Console(width=110).print(table)
