"""The linear model of a run: what its network adds to, and what its results are held against."""

import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unrolled.data.corpus import TokenCorpus
from unrolled.data.prepare import PreparedData
from unrolled.linear import LinearModel, fit


@dataclass(frozen=True)
class Baseline:
    """A linear model fitted to a run's training documents, and how long that took."""

    model: LinearModel
    seconds: float
    metrics: dict[str, float]  # accuracy and macro F1, named as those of the run

    @property
    def parameters(self) -> int:
        """Its weights and biases."""
        return self.model.weights.size + self.model.bias.size

    def record(self) -> dict[str, Any]:
        """What results.json says of it."""
        return {**self.metrics, "seconds": self.seconds, "parameters": self.parameters}


def fit_baseline(prepared: PreparedData) -> tuple[PreparedData, Baseline]:
    """Fit it; the same data with its scores, those of training documents from models that have not seen them."""
    begin = time.perf_counter()
    classes = len(prepared.labels)
    model, held_out = fit(prepared.train, classes)
    scored = {"train": replace(prepared.train, scores=held_out)}
    for name in ("valid", "test"):
        corpus: TokenCorpus = getattr(prepared, name)
        scored[name] = replace(corpus, scores=model.logits(corpus))
    seconds = time.perf_counter() - begin
    metrics = {
        f"{short}/{metric}": value
        for short, name in (("val", "valid"), ("test", "test"))
        for metric, value in _measured(scored[name].labels, scored[name].scores).items()
    }
    with_scores = replace(prepared, train=scored["train"], valid=scored["valid"], test=scored["test"])
    return with_scores, Baseline(model, seconds, metrics)


def _measured(labels: NDArray[np.int64], scores: NDArray[np.float32] | None) -> dict[str, float]:
    from sklearn.metrics import accuracy_score, f1_score

    assert scores is not None
    predicted = scores.argmax(axis=1)
    return {
        "accuracy": float(accuracy_score(labels, predicted)),
        "macro_f1": float(f1_score(labels, predicted, average="macro", zero_division=0)),
    }
