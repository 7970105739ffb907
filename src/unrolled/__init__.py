"""Training experiments for recurrent text classifiers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from unrolled.nn import GRU, LSTM, RNN, Recurrence
from unrolled.nn.cells import GRUCell, LSTMCell, RNNCell

if TYPE_CHECKING:
    from unrolled.use.predictor import TextClassifier

__all__ = ["GRU", "LSTM", "RNN", "GRUCell", "LSTMCell", "RNNCell", "Recurrence", "load"]


def load(run: str | Path, checkpoint: str | None = None, device: str | None = None) -> TextClassifier:
    """The classifier that a run has trained: ``unrolled.load("runs/latest").predict(texts)``.

    run: its directory; checkpoint: ``best``, ``last`` or a file, None for the weights that it has tested.
    """
    from unrolled.use.load import load as load_from_run  # not before it is needed: it imports Lightning and Hydra

    return load_from_run(run, checkpoint, device)
