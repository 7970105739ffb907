"""Metrics of every validation and of the test."""

import math
import time
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from unrolled.train.callbacks.tokens_seen import TokensSeen

CLOCKS = {"seconds": time.perf_counter, "cpu_seconds": time.process_time}


class History(Callback):
    """Keeps one row per validation and the test's metrics; ``metrics()`` is the outcome of the run.

    A row holds ``epoch``, ``step`` (optimizer steps so far), ``tokens_seen`` (where ``TokensSeen`` runs), ``seconds``
    of training and validation so far, ``cpu_seconds`` that the process's threads worked in them (what else a shared
    machine does counts for less there), ``train/loss`` of the last step and every ``val/`` metric. The best row is the
    one with the best accuracy, of equals the one with the lowest loss: that of the weights which ``BestCheckpoint``
    keeps.
    """

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []
        self.test: dict[str, float] = {}
        self._before = dict.fromkeys(CLOCKS, 0.0)
        self._began: dict[str, float] | None = None

    @property
    def best(self) -> dict[str, float] | None:
        """The best row, or None before the first validation."""
        rows = [row for row in self.rows if not math.isnan(row.get("val/accuracy", math.nan))]

        def rank(row: dict[str, float]) -> tuple[float, float]:
            loss = row.get("val/loss", math.nan)
            return -row["val/accuracy"], math.inf if math.isnan(loss) else loss

        return min(rows, key=rank, default=None)

    def metrics(self) -> dict[str, float]:
        """The ``val/`` metrics of the best row and the ``test/`` metrics, as far as there are any."""
        best = self.best or {}
        return {name: value for name, value in best.items() if name.startswith("val/")} | self.test

    def state_dict(self) -> dict[str, Any]:
        return {"rows": [dict(row) for row in self.rows], **self._times()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows = [dict(row) for row in state_dict["rows"]]
        self._before = {name: state_dict.get(name, 0.0) for name in CLOCKS}  # older checkpoints lack the second

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._began = {name: clock() for name, clock in CLOCKS.items()}

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        row = {"epoch": float(trainer.current_epoch), "step": float(trainer.global_step), **self._times()}
        progress = next((c for c in trainer.callbacks if isinstance(c, TokensSeen)), None)  # type: ignore[attr-defined]
        if progress is not None:
            row["tokens_seen"] = float(progress.tokens_seen)
        self.rows.append(row | _metrics(trainer, ("train/loss", "val/")))

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.test = _metrics(trainer, ("test/",))

    def _times(self) -> dict[str, float]:
        """What each clock has counted, a resumed run's earlier sessions included."""
        if self._began is None:
            return dict(self._before)
        return {name: self._before[name] + clock() - self._began[name] for name, clock in CLOCKS.items()}


def _metrics(trainer: pl.Trainer, prefixes: tuple[str, ...]) -> dict[str, float]:
    ours = {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith(prefixes)}
    return {name: value for name, value in ours.items() if not name.endswith(("_step", "_epoch"))}
