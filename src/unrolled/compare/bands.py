"""Curves over seeds for TensorBoard: the mean, and a band of one standard deviation around it."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from torch.utils.tensorboard import SummaryWriter

from unrolled.compare.comparison import Comparison
from unrolled.errors import UserError

CATEGORIES = ("val", "train", "test", "progress", "optim", "speed")  # what is a curve, in the order of the tab

Curve = tuple[np.ndarray, np.ndarray]  # steps and values, each (S,)


def read_scalars(directory: Path) -> dict[str, Curve]:
    """Every scalar curve in the event files directly in ``directory``."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # slow to import

    if not any(directory.glob("events.out.tfevents.*")):
        return {}
    events = EventAccumulator(str(directory), size_guidance={"scalars": 0})
    events.Reload()
    curves = {}
    for tag in events.Tags()["scalars"]:
        points = {event.step: event.value for event in events.Scalars(tag)}  # of a step written twice the later value
        steps = sorted(points)
        curves[tag] = (np.array(steps), np.array([points[step] for step in steps]))
    return curves


def band(curves: Sequence[Curve]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Steps, mean and standard deviation (n - 1; 0 for one curve) at the steps that all ``curves`` have."""
    steps = curves[0][0]
    for other, _ in curves[1:]:
        steps = np.intersect1d(steps, other)
    values = np.stack([value[np.isin(step, steps)] for step, value in curves])  # (R, S)
    deviation = values.std(axis=0, ddof=1) if len(curves) > 1 else np.zeros(len(steps))
    return steps, values.mean(axis=0), deviation


def write_bands(comparison: Comparison, folder: Path) -> list[Path]:
    """One TensorBoard run per configuration, with ``<tag>/mean``, ``<tag>/lower`` and ``<tag>/upper`` for each curve.

    The layout of the Custom Scalars tab draws them as a line in a shaded band. Returns the directories written.
    Raises UserError where ``folder`` holds event files already, or no run has any.
    """
    if any(folder.rglob("events.out.tfevents.*")):
        raise UserError(f"--tensorboard {folder}: there are event files already; name a new directory")
    written = []
    for row in comparison.rows:
        of_runs = [curves for run in row.finished if (curves := read_scalars(run.directory))]
        if not of_runs:
            continue
        directory = folder / _unused(folder, row.label)
        with SummaryWriter(str(directory)) as writer:
            shared = [tag for tag in of_runs[0] if all(tag in curves for curves in of_runs)]
            tags = sorted((tag for tag in shared if tag.split("/")[0] in CATEGORIES), key=_rank)
            for tag in tags:
                for step, mean, deviation in zip(*band([curves[tag] for curves in of_runs]), strict=True):
                    writer.add_scalar(f"{tag}/mean", mean, int(step))
                    writer.add_scalar(f"{tag}/lower", mean - deviation, int(step))
                    writer.add_scalar(f"{tag}/upper", mean + deviation, int(step))
            writer.add_custom_scalars(_layout(tags))
        written.append(directory)
    if not written:
        raise UserError("--tensorboard: none of these runs has event files; train with logger=tensorboard")
    return written


def _rank(tag: str) -> tuple[int, str]:
    return CATEGORIES.index(tag.split("/")[0]), tag


def _layout(tags: Sequence[str]) -> Mapping[str, Mapping[str, list[str | list[str]]]]:
    layout: dict[str, dict[str, list[str | list[str]]]] = {}
    for tag in tags:
        category, _, name = tag.partition("/")
        names = [f"{tag}/{part}" for part in ("mean", "lower", "upper")]
        layout.setdefault(category, {})[name or category] = ["Margin", names]
    return layout


def _unused(folder: Path, label: str) -> str:
    name = re.sub(r"[^\w.=+ -]+", "-", label).strip() or "run"
    number, unused = 2, name
    while (folder / unused).exists():
        unused = f"{name} {number}"
        number += 1
    return unused
