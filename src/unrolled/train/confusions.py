"""The figure of a confusion matrix."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_confusion_matrix(counts: npt.NDArray[np.int64], class_names: Sequence[str]) -> "Figure":
    """A figure of ``counts`` (C, C), shaded by the share of the true class, with the counts written in."""
    from matplotlib.figure import Figure  # takes half a second, and many runs draw nothing

    classes = len(class_names)
    margin = 4.0  # inches, for class names
    side = min(margin + 0.4 * classes, 24)
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.add_subplot()
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    axes.set(xlabel="predicted", ylabel="true", title=f"{np.trace(counts):,} of {counts.sum():,} right")
    axes.set_xticks(range(classes), labels=list(class_names), rotation=90)
    axes.set_yticks(range(classes), labels=list(class_names))
    if classes <= 60:  # beyond, the numbers are unreadable
        cell = 72 * (side - margin) / classes  # points
        fontsize = min(12, 0.9 * cell / (0.62 * len(str(counts.max()))))  # a digit is 0.62 times as wide as high
        for row, column in zip(*np.nonzero(counts), strict=True):
            colour = "white" if share[row, column] > 0.5 else "black"
            axes.text(column, row, str(counts[row, column]), ha="center", va="center", color=colour, fontsize=fontsize)
    return figure
