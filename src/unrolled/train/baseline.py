"""The linear model of a run: what its network is mixed with, and what its results are held against."""

import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from unrolled.data.prepare import PreparedData
from unrolled.linear import LinearModel, affordable, fit
from unrolled.train.environment import describe_environment
from unrolled.train.memory import peak_memory_mb, reset_peak_memory
from unrolled.train.predictions import save_predictions
from unrolled.train.results import LINEAR_FILE, RunResult

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Baseline:
    """A linear model fitted to a run's training documents, and how long that took."""

    model: LinearModel
    seconds: float
    documents: int  # it was fitted to
    peak_memory_mb: float
    metrics: dict[str, float]  # loss, accuracy and macro F1, named as those of the run

    @property
    def parameters(self) -> int:
        return self.model.weights.size + self.model.bias.size

    def record(self) -> dict[str, Any]:
        about = {"seconds": self.seconds, "documents": self.documents, "parameters": self.parameters}
        return {**self.metrics, **about, "C": self.model.C, "pairs": self.model.pairs}


def fit_baseline(
    prepared: PreparedData, C: float | None = None, pairs: bool | None = None, balanced: bool = False
) -> tuple[PreparedData, Baseline]:
    """Fit it, as `linear.fit` does; the same data with its scores of the validation and test documents."""
    reset_peak_memory(CPU)
    begin = time.perf_counter()
    classes = len(prepared.labels)
    model = fit(prepared.train, classes, C, pairs, balanced)
    valid, test = (replace(corpus, scores=model.logits(corpus)) for corpus in (prepared.valid, prepared.test))
    seconds = time.perf_counter() - begin
    metrics = {
        f"{split}/{metric}": value
        for split, corpus in (("val", valid), ("test", test))
        for metric, value in _measured(corpus.labels, corpus.scores).items()
    }
    baseline = Baseline(model, seconds, len(affordable(prepared.train, classes)), peak_memory_mb(CPU), metrics)
    return replace(prepared, valid=valid, test=test), baseline


def record_linear(result: RunResult, prepared: PreparedData, baseline: Baseline) -> None:
    """Fill in the results of a run whose model is the linear one alone, and write its predictions.

    prepared: with its scores, as `fit_baseline` gives it.
    """
    test = prepared.test
    assert test.scores is not None
    proba = np.exp(_log_softmax(test.scores))
    predicted = {"ids": test.ids, "labels": test.labels, "predicted": proba.argmax(1), "probability": proba.max(1)}
    result.predictions = result.relative(save_predictions(result.directory, predicted, prepared.labels))
    result.metrics = baseline.metrics
    result.parameters = {"total": baseline.parameters, "linear": baseline.parameters}
    result.speed = {"peak_memory_mb": baseline.peak_memory_mb}
    result.environment = describe_environment() | {"processes": 1}
    result.best_checkpoint = result.tested_weights = LINEAR_FILE


def _measured(labels: NDArray[np.int64], scores: NDArray[np.float32] | None) -> dict[str, float]:
    from sklearn.metrics import accuracy_score, f1_score

    assert scores is not None
    predicted = scores.argmax(axis=1)
    return {
        "loss": -float(_log_softmax(scores)[np.arange(len(labels)), labels].mean()),
        "accuracy": float(accuracy_score(labels, predicted)),
        "macro_f1": float(f1_score(labels, predicted, average="macro", zero_division=0)),
    }


def _log_softmax(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    logarithms: NDArray[np.float32] = torch.from_numpy(scores).log_softmax(dim=1).numpy()
    return logarithms
