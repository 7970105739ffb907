"""Tables that training prints: its data at the beginning, and its results at the end."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from unrolled.console import natural_width, plain_table, say
from unrolled.data.summary import summary_table
from unrolled.train.columns import BY_NAME, clock
from unrolled.train.results import NETWORK_ALONE, RunResult

SHOWN = [
    BY_NAME[name]
    for name in (
        "parameters",
        "val_accuracy",
        "test_accuracy",
        "test_macro_f1",
        "tokens_per_second",
        "peak_memory_mb",
        "wall_time_s",
    )
]

_printed: dict[str, Any] = {}  # the summary that was printed last


def print_data(summary: dict[str, Any], console: Console) -> None:
    """The data's table; of the jobs of a sweep that have the same data only the first shows it."""
    if summary == _printed:
        say(console, f"{summary['name']}: the same data as above")
        return
    _printed.clear()
    _printed.update(summary)
    console.print(summary_table(summary))


def print_run(run: RunResult, logdir: str | Path, console: Console) -> None:
    """What a finished run has reached, and the command that shows the curves, where TensorBoard has them."""
    titles = ["model", "implementation", *(column.label for column in SHOWN)]
    shown = (column.text_with_unit(column.of(run)) for column in SHOWN)
    row = [*map(escape, (run.model or run.name, run.implementation or "-")), *shown]
    table = plain_table(titles, [row], names=2)
    if natural_width(table, console) > console.width:  # a narrow terminal: a line for each column
        table = plain_table(["", ""], zip(titles, row, strict=True), names=2, show_header=False)
    console.print(table)
    if (alone := run.metrics.get(NETWORK_ALONE)) is not None:
        say(console, f"network alone: test acc {100 * alone:.2f} %")
    if run.baseline:
        better = "; the linear model is better here" if _baseline_is_better(run) else ""
        say(console, baseline_line(run.baseline) + better)
    if "TensorBoard" in str((run.config.get("logger") or {}).get("_target_")):
        say(console, f"\ntensorboard --logdir {logdir}")


def baseline_line(baseline: Mapping[str, float], split: str = "test") -> str:
    """What the linear model of a run reaches (``RunResult.baseline``), on ``split`` `val` or `test`."""
    accuracy, f1 = (100 * baseline[f"{split}/{name}"] for name in ("accuracy", "macro_f1"))
    return f"linear baseline: {split} acc {accuracy:.2f} %, macro F1 {f1:.2f} %, {clock(baseline['seconds'])}"


def _baseline_is_better(run: RunResult) -> bool:
    """Whether it is more accurate than the run by more than the standard error of a share of the test documents."""
    share, ours = run.baseline["test/accuracy"], run.metrics.get("test/accuracy")
    documents = run.data_summary["splits"]["test"]["documents"]
    return ours is not None and share - ours > math.sqrt(share * (1 - share) / documents)
