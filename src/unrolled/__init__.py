"""Training experiments for recurrent text classifiers."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unrolled.nn import GRU, LSTM, RNN, Recurrence
    from unrolled.nn.cells import GRUCell, LSTMCell, RNNCell
    from unrolled.use.predictor import TextClassifier

__all__ = ["GRU", "LSTM", "RNN", "GRUCell", "LSTMCell", "RNNCell", "Recurrence", "load"]


def load(run: str | Path, checkpoint: str | None = None, device: str | None = None) -> TextClassifier:
    """The classifier that a run has trained: ``unrolled.load("runs/latest").predict(texts)``.

    run: its directory; checkpoint: ``best``, ``last`` or a file, None for the weights that it has tested.
    """
    from unrolled.use.load import load_run

    return load_run(run, checkpoint, device).model


def __getattr__(name: str) -> Any:
    """The recurrences and cells, imported when they are first asked for: torch takes seconds to import."""
    if name in __all__:
        return getattr(import_module("unrolled.nn.cells" if name.endswith("Cell") else "unrolled.nn"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
