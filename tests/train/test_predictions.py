import numpy as np

from unrolled.train.predictions import load_predictions, save_predictions
from unrolled.train.results import RunResult


def test_predictions_come_back_by_document(tmp_path) -> None:
    predictions = {
        "ids": np.array([4, 0, 2]),
        "labels": np.array([1, 0, 1]),
        "predicted": np.array([1, 1, 0]),
        "probability": np.array([0.75, 0.5, 0.625]),
    }
    save_predictions(tmp_path, predictions, ["ham, smoked", "spam"])
    read = load_predictions(RunResult(name="a", directory=tmp_path, predictions="predictions.csv"))
    assert read is not None
    assert read["ids"].tolist() == [0, 2, 4]
    assert read["labels"].tolist() == ["ham, smoked", "spam", "spam"]
    assert read["predicted"].tolist() == ["spam", "ham, smoked", "spam"]
    assert read["probability"].tolist() == [0.5, 0.625, 0.75]
    assert load_predictions(RunResult(name="a", directory=tmp_path / "other")) is None
