"""Predictions of a run on its test documents: `predictions.csv`."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unrolled.files import replacing
from unrolled.train.results import RunResult

if TYPE_CHECKING:
    import pandas as pd

PREDICTIONS_FILE = "predictions.csv"


def save_predictions(
    directory: Path, predictions: Mapping[str, Any], class_names: Sequence[str], file: str = PREDICTIONS_FILE
) -> Path:
    """Write one row per document: its id, true class, predicted class and the probability of that class.

    The id is the number of the document's record in its file, from 1.

    predictions: ``ids``, ``labels``, ``predicted``, ``probability``, each (N,).
    """
    path = directory / file
    columns = [np.asarray(predictions[key]).tolist() for key in ("ids", "labels", "predicted", "probability")]
    with replacing(path) as new, new.open("w", newline="", encoding="utf-8") as out:
        rows = csv.writer(out)
        rows.writerow(["id", "label", "predicted", "probability"])
        for identity, label, predicted, probability in zip(*columns, strict=True):
            rows.writerow([identity, class_names[label], class_names[predicted], f"{probability:.6f}"])
    return path


def load_predictions(run: RunResult) -> "pd.DataFrame | None":
    """Columns ``ids``, ``labels``, ``predicted`` (names) and ``probability``, sorted by id; None where not saved."""
    import pandas as pd  # slow to import, and training does not need it

    path = run.directory / (run.predictions or PREDICTIONS_FILE)
    if not path.is_file():
        return None
    columns, texts = ["ids", "labels", "predicted", "probability"], {"labels": str, "predicted": str}
    table = pd.read_csv(path, names=columns, header=0, dtype=texts, keep_default_na=False)
    return table.sort_values("ids", ignore_index=True)
