"""A comparison drawn: accuracy against size, accuracy against speed, learning curves."""

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from unrolled.compare.comparison import BY_NAME, Column, Comparison
from unrolled.train.results import RunResult

ACCURACY = BY_NAME["test_accuracy"]


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


def draw_accuracy_against(comparison: Comparison, column: Column) -> Figure | None:
    """One point per configuration with error bars over seeds; the Pareto front as a line. None below two points.

    Where timings do not go together there is no front, and the title says so.
    """
    rows = [row for row in comparison.rows if row.mean(column) is not None and row.mean(ACCURACY) is not None]
    if len(rows) < 2:
        return None
    figure, axes = _figure()
    x = [row.mean(column) or 0.0 for row in rows]
    y = [100 * (row.mean(ACCURACY) or 0.0) for row in rows]
    for row, horizontal, vertical in zip(rows, x, y, strict=True):
        height = 100 * (row.deviation(ACCURACY) or 0.0)
        axes.errorbar(horizontal, vertical, yerr=height or None, fmt="o", color="tab:blue", capsize=3)
        axes.annotate(row.label, (horizontal, vertical), xytext=(5, 5), textcoords="offset points", fontsize=7)
    comparable = not column.is_timing or all(section.timings_comparable for section in comparison.sections)
    if comparable:
        front = pareto_front(list(zip(x, y, strict=True)), column.higher_is_better)
        axes.plot(
            [x[i] for i in front], [y[i] for i in front], "--", color="tab:orange", label="Pareto front", zorder=0
        )
        axes.legend()
    else:
        axes.set_title("timings from different places: NOT comparable")
    axes.set(xlabel=_axis(column), ylabel="test accuracy in %", xscale="log")
    axes.margins(x=0.2)
    return figure


def draw_learning_curves(comparison: Comparison) -> Figure | None:
    """Validation accuracy over tokens read, the mean over seeds in a band of one standard deviation."""
    figure, axes = _figure()
    drawn = 0
    for row in comparison.rows:
        curve = learning_curve(row.finished)
        if curve is None:
            continue
        tokens, mean, deviation = curve
        (line,) = axes.plot(tokens, 100 * mean, marker="." if len(tokens) < 40 else None, label=row.label)
        colour = line.get_color()
        axes.fill_between(tokens, 100 * (mean - deviation), 100 * (mean + deviation), alpha=0.2, color=colour, lw=0)
        drawn += 1
    if not drawn:
        return None
    axes.set(xlabel="tokens read in training", ylabel="validation accuracy in %")
    axes.legend(fontsize=7)
    return figure


def learning_curve(runs: Sequence[RunResult]) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Tokens read, mean and standard deviation (n - 1; 0 for one run) of the validation accuracy, each (V,).

    Runs are put together validation by validation, up to the shortest; None where there is no history.
    """
    curves = [
        [(row.get("tokens_seen", row["step"]), row["val/accuracy"]) for row in run.history if "val/accuracy" in row]
        for run in runs
    ]
    length = min((len(curve) for curve in curves), default=0)
    if not length:
        return None
    stacked = np.array([curve[:length] for curve in curves], dtype=float)  # (R, V, 2)
    deviation = stacked[..., 1].std(axis=0, ddof=1) if len(curves) > 1 else np.zeros(length)
    return stacked[..., 0].mean(axis=0), stacked[..., 1].mean(axis=0), deviation


PLOTS: dict[str, tuple[str, Callable[[Comparison], Figure | None]]] = {
    "accuracy_parameters": (
        "Accuracy against the number of parameters",
        lambda comparison: draw_accuracy_against(comparison, BY_NAME["parameters"]),
    ),
    "accuracy_speed": (
        "Accuracy against training speed",
        lambda comparison: draw_accuracy_against(comparison, BY_NAME["tokens_per_second"]),
    ),
    "learning_curves": ("Learning curves", draw_learning_curves),
}


def as_svg(comparison: Comparison) -> dict[str, str]:
    """Title and SVG of every plot that has something to show."""
    drawings = {}
    for title, draw in PLOTS.values():
        if (figure := draw(comparison)) is not None:
            out = io.StringIO()
            figure.savefig(out, format="svg")
            drawings[title] = out.getvalue()
    return drawings


def save_plots(comparison: Comparison, folder: Path) -> list[Path]:
    """Write every plot that has something to show as PNG and SVG; the files written."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, (_, draw) in PLOTS.items():
        figure = draw(comparison)
        if figure is not None:
            for ending in ("png", "svg"):
                path = folder / f"{name}.{ending}"
                figure.savefig(path, dpi=150)
                written.append(path)
    return written


def _figure() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(8, 5.5), layout="constrained")
    axes = figure.add_subplot()
    axes.grid(alpha=0.3)
    return figure, axes


def _axis(column: Column) -> str:
    return {"parameters": "parameters", "tokens_per_second": "training speed in tokens per second"}[column.name]
