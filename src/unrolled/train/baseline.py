"""The linear model of a run: what its network is mixed with, and what its results are held against.

A model that was fitted is kept in the cache, since further runs, as the jobs of a sweep, need the same one.
"""

import hashlib
import json
import logging
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from unrolled import linear
from unrolled.data.corpus import TokenCorpus
from unrolled.data.prepare import PreparedData
from unrolled.files import replacing
from unrolled.linear import LinearModel, affordable, fit
from unrolled.train.environment import describe_environment
from unrolled.train.memory import peak_memory_mb, reset_peak_memory
from unrolled.train.predictions import save_predictions
from unrolled.train.results import LINEAR_FILE, RunResult

log = logging.getLogger(__name__)

CPU = torch.device("cpu")
KEPT = 10  # models in the cache, the newest; one takes up to 80 MB


@dataclass(frozen=True)
class Baseline:
    """A linear model fitted to a run's training documents, and what that took, in an earlier run if it was kept."""

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
    prepared: PreparedData, cache: Path, C: float | None = None, pairs: bool | None = None, balanced: bool = False
) -> tuple[PreparedData, Baseline]:
    """Fit it, as `linear.fit` does, or read it from the directory ``cache``, if it was fitted to the same documents.

    Returns the same data with its scores of the validation and test documents, too.
    """
    reset_peak_memory(CPU)
    begin = time.perf_counter()
    classes = len(prepared.labels)
    documents = prepared.train.select(affordable(prepared.train, classes))
    file = cache / f"{_key(documents, classes, C, pairs, balanced)}.npz"
    model, cost = _kept(file) or (fit(documents, classes, C, pairs, balanced), None)
    valid, test = (replace(corpus, scores=model.logits(corpus)) for corpus in (prepared.valid, prepared.test))
    if cost is None:
        cost = (time.perf_counter() - begin, peak_memory_mb(CPU))
        _keep(file, model, cost)
    seconds, memory = cost
    metrics = {
        f"{split}/{metric}": value
        for split, corpus in (("val", valid), ("test", test))
        for metric, value in _measured(corpus.labels, corpus.scores).items()
    }
    return replace(prepared, valid=valid, test=test), Baseline(model, seconds, len(documents), memory, metrics)


def _key(documents: TokenCorpus, classes: int, C: float | None, pairs: bool | None, balanced: bool) -> str:
    """Of all that the model depends on: documents and their classes, settings, the code that fits, its libraries."""
    settings = [classes, C, pairs, balanced, *map(version, ("numpy", "scipy", "scikit-learn"))]
    digest = hashlib.sha256(json.dumps(settings).encode() + Path(linear.__file__).read_bytes())
    for column in (documents.lengths, documents.labels):
        digest.update(column.tobytes())
    for number in range(len(documents)):
        digest.update(documents.document(number).tobytes())
    return digest.hexdigest()[:16]


def _kept(file: Path) -> tuple[LinearModel, tuple[float, float]] | None:
    """The model in ``file``, and the seconds and MiB that fitting it took; None where none is, or a damaged one."""
    with suppress(OSError, ValueError):
        model = LinearModel.load(file)
        with np.load(file, allow_pickle=False) as arrays:
            seconds, memory = arrays["cost"].tolist()
        return model, (seconds, memory)
    return None


def _keep(file: Path, model: LinearModel, cost: tuple[float, float]) -> None:
    """Write what `_kept` reads, and remove old models."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(file) as new, new.open("wb") as out:
            np.savez(out, allow_pickle=False, cost=cost, **model.arrays())
        for old in sorted(file.parent.glob("*.npz"), key=lambda each: each.stat().st_mtime)[:-KEPT]:
            old.unlink(missing_ok=True)
    except OSError as error:
        reason = error.strerror or error
        log.warning("The linear model cannot be kept in %s (%s): the next run fits it again.", file.parent, reason)


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
