"""Plots of a comparison: accuracy against size, accuracy against speed, learning curves."""

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from textwrap import fill, shorten

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from unrolled.compare.comparison import Comparison
from unrolled.train.columns import BY_NAME
from unrolled.train.results import RunResult

AXES = {"parameters": "parameters", "tokens_per_second": "training speed in tokens per second"}


def pareto_front(points: Sequence[tuple[float, float]], more_is_better: bool) -> list[int]:
    """Indices of the points (x, accuracy) that no other point beats in both, from left to right.

    Higher accuracy is better; of x more is better, or less.
    """
    sign = 1 if more_is_better else -1
    front: list[int] = []
    for i in sorted(range(len(points)), key=lambda i: (-sign * points[i][0], -points[i][1])):
        if not front or points[i][1] > points[front[-1]][1]:
            front.append(i)
    return sorted(front, key=lambda i: points[i][0])


def plot_accuracy_against(rows: pd.DataFrame, name: str) -> Figure | None:
    """One point per configuration with error bars over seeds; the Pareto front as a line. None below two points.

    rows: of a comparison's table, on the same documents; name: the column on the horizontal axis. Each section has a
    front of its own. Where timings do not go together there is no front, and the title says so.
    """
    rows = rows.dropna(subset=[name, "test_accuracy"])
    if len(rows) < 2:
        return None
    figure, axes = _figure()
    column = BY_NAME[name]
    comparable = not column.is_timing or rows.timings_comparable.all()
    for number, (title, section) in enumerate(rows.groupby("section", sort=False)):
        x, y = section[name], 100 * section.test_accuracy
        heights = 100 * section.test_accuracy_std.fillna(0.0)
        axes.errorbar(x, y, yerr=heights if heights.any() else None, fmt="o", color=f"C{2 * number}", capsize=3)
        for label, right, up in zip(section.label, x, y, strict=True):
            axes.annotate(
                shorten(label, 50, placeholder=" …"),
                (right, up),
                xytext=(5, 5),
                textcoords="offset points",
                fontsize=7,
                in_layout=False,
            )
        if comparable:
            front = pareto_front(list(zip(x, y, strict=True)), column.higher_is_better)
            label = fill(f"Pareto front, {title}" if rows.section.nunique() > 1 else "Pareto front", 90)
            axes.plot(x.iloc[front], y.iloc[front], "--", color=f"C{2 * number + 1}", label=label, zorder=0)
    if comparable:
        figure.legend(loc="outside lower center", fontsize=7)
    else:
        axes.set_title("timings from different places: NOT comparable")
    axes.set(xlabel=AXES[name], ylabel="test accuracy in %", xscale="log")
    axes.margins(x=0.2)
    return figure


def plot_learning_curves(rows: pd.DataFrame) -> Figure | None:
    """Validation accuracy over tokens read, the mean over seeds in a band of one standard deviation.

    rows: of a comparison's table, on the same documents.
    """
    figure, axes = _figure()
    for label, finished in zip(rows.label, rows.finished, strict=True):
        curve = learning_curve(finished)
        if not curve.empty:
            mean, deviation = 100 * curve["mean"], 100 * curve["std"]
            (line,) = axes.plot(curve.tokens, mean, marker="." if len(curve) < 40 else None, label=fill(label, 90))
            lower, upper = mean - deviation, mean + deviation
            axes.fill_between(curve.tokens, lower, upper, alpha=0.2, color=line.get_color(), lw=0)
    if not axes.lines:
        return None
    axes.set(xlabel="tokens read in training", ylabel="validation accuracy in %")
    figure.legend(loc="outside lower center", fontsize=7)
    return figure


def learning_curve(runs: Sequence[RunResult]) -> pd.DataFrame:
    """``tokens`` read, and ``mean`` and ``std`` (n - 1; 0 for one run) of the validation accuracy.

    A row per validation, up to the run with the fewest; no rows where there is no history.
    """
    if not runs:
        return pd.DataFrame()
    curves = []
    for run in runs:
        rows = [row for row in run.history if "val/accuracy" in row]
        points = [(row.get("tokens_seen", row["step"]), row["val/accuracy"]) for row in rows]
        curves.append(pd.DataFrame(points, columns=["tokens", "accuracy"], dtype=float))
    by_validation = pd.concat(curves, keys=range(len(curves))).groupby(level=1)
    accuracy = by_validation.accuracy
    table = pd.DataFrame({"tokens": by_validation.tokens.mean(), "mean": accuracy.mean(), "std": accuracy.std()})
    return table[by_validation.size() == len(curves)].fillna({"std": 0.0})


def all_plots(comparison: Comparison) -> Iterator[tuple[str, str, Figure]]:
    """File name, title and figure of every plot that has something to show; different documents have plots each."""
    several = comparison.table.documents.nunique() > 1
    for number, (documents, rows) in enumerate(comparison.table.groupby("documents", sort=False), start=1):
        size, speed = (plot_accuracy_against(rows, name) for name in ("parameters", "tokens_per_second"))
        for name, title, figure in (
            ("accuracy_parameters", "Accuracy against the number of parameters", size),
            ("accuracy_speed", "Accuracy against training speed", speed),
            ("learning_curves", "Learning curves", plot_learning_curves(rows)),
        ):
            if figure is not None:
                if several:
                    figure.suptitle(fill(str(documents), 90), fontsize=9)
                yield (f"{name}_{number}", f"{title}, {documents}", figure) if several else (name, title, figure)


def as_svg(comparison: Comparison) -> dict[str, str]:
    """Title and SVG of every plot."""
    images = {}
    for _, title, figure in all_plots(comparison):
        out = io.StringIO()
        figure.savefig(out, format="svg")
        images[title] = out.getvalue()
    return images


def save_plots(comparison: Comparison, folder: Path) -> list[Path]:
    """Write every plot as PNG and SVG; the files written."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, _, figure in all_plots(comparison):
        for ending in ("png", "svg"):
            written.append(folder / f"{name}.{ending}")
            figure.savefig(written[-1], dpi=150)
    return written


def _figure() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(8, 5.5), layout="constrained")
    axes = figure.add_subplot()
    axes.grid(alpha=0.3)
    return figure, axes
