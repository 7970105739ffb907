"""Curves over seeds and folds for TensorBoard: the mean, with a band of one standard deviation around it."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from unrolled.compare.comparison import Comparison
from unrolled.errors import UserError

CATEGORIES = ("val", "train", "test", "progress", "optim", "speed")  # what is a curve, in the order of the tab


def read_scalars(directory: Path) -> "dict[str, pd.Series[float]]":
    """Every scalar curve in the event files directly in ``directory``: values by step."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # slow to import

    if not any(directory.glob("events.out.tfevents.*")):
        return {}
    events = EventAccumulator(str(directory), size_guidance={"scalars": 0})
    events.Reload()
    return {  # of a step that was written twice the later value
        tag: pd.Series({event.step: event.value for event in events.Scalars(tag)}).sort_index()
        for tag in events.Tags()["scalars"]
    }


def band(curves: "Sequence[pd.Series[float]]") -> pd.DataFrame:
    """``mean``, ``lower`` and ``upper`` (one standard deviation, n - 1, away) at the steps that all ``curves`` have."""
    values = pd.concat(curves, axis="columns", join="inner")
    mean, deviation = values.mean(axis="columns"), values.std(axis="columns").fillna(0.0)
    return pd.DataFrame({"mean": mean, "lower": mean - deviation, "upper": mean + deviation})


def write_bands(comparison: Comparison, folder: Path) -> list[Path]:
    """One TensorBoard run per configuration, with ``<tag>/mean``, ``<tag>/lower`` and ``<tag>/upper`` for each curve.

    The layout of the Custom Scalars tab shows them as a line in a shaded band. Returns the directories written.
    Raises UserError where ``folder`` holds event files already, or no run has any.
    """
    from torch.utils.tensorboard import SummaryWriter  # slow to import

    if any(folder.rglob("events.out.tfevents.*")):
        raise UserError(f"--tensorboard {folder}: there are event files already; name a new directory")
    written = []
    for label, finished in zip(comparison.table.label, comparison.table.finished, strict=True):
        of_runs = [curves for run in finished if (curves := read_scalars(run.directory))]
        if not of_runs:
            continue
        directory = folder / _unused(folder, label)
        with SummaryWriter(str(directory)) as writer:
            shared = [tag for tag in of_runs[0] if all(tag in curves for curves in of_runs)]
            tags = sorted((tag for tag in shared if tag.split("/")[0] in CATEGORIES), key=_rank)
            for tag in tags:
                for name, values in band([curves[tag] for curves in of_runs]).items():
                    for step, value in values.items():
                        writer.add_scalar(f"{tag}/{name}", value, step)
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
