"""The end of a run on the terminal."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from unrolled.compare.report import natural_width
from unrolled.train.callbacks.progress_bar import clock
from unrolled.train.results import RunResult

COLUMNS = ("model", "implementation", "parameters", "val acc", "test acc", "macro F1", "tokens/s", "memory", "time")


def run_row(run: RunResult) -> list[str]:
    """The cells of ``COLUMNS`` for one run; a dash where a value is missing."""
    return [
        run.model or run.name,
        run.implementation or "-",
        _count(run.parameters.get("total")),
        _percent(run.metrics.get("val/accuracy")),
        _percent(run.metrics.get("test/accuracy")),
        _percent(run.metrics.get("test/macro_f1")),
        _count(run.speed.get("tokens_per_second")),
        _megabytes(run.speed.get("peak_memory_mb")),
        "-" if run.wall_time_s is None else clock(run.wall_time_s),
    ]


def print_runs(runs: Sequence[RunResult], logdir: str | Path, console: Console | None = None) -> None:
    """A row per run (with what went wrong, where something did) and the command that shows the curves."""
    console = console or Console()
    troubled = any(run.status != "ok" for run in runs)
    titles = [*COLUMNS, "status"] if troubled else list(COLUMNS)
    rows = [[*run_row(run), run.status if run.error is None else f"{run.status}: {run.error}"] for run in runs]
    table = Table(show_edge=False, pad_edge=False)
    for number, title in enumerate(titles):
        text = number < 2 or title == "status"
        table.add_column(title, justify="left" if text else "right", overflow="fold")
    for row in rows:
        table.add_row(*map(escape, row[: len(titles)]))
    if natural_width(table, console) > console.width:  # a narrow terminal: a run is a column
        table = Table(show_edge=False, pad_edge=False, show_header=False)
        for cells in zip(titles, *rows, strict=False):
            table.add_row(*map(escape, cells))
    console.print(table)
    console.print(f"\ntensorboard --logdir {logdir}", highlight=False, soft_wrap=True)


def _count(number: float | None) -> str:
    return "-" if number is None else f"{number:,.0f}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.2f} %"


def _megabytes(size: float | None) -> str:
    return "-" if size is None else f"{size:,.0f} MiB"
