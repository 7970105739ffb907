"""Hyperparameters and results of the run, for TensorBoard's HParams tab."""

from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
from omegaconf import OmegaConf
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loggers import TensorBoardLogger

from unrolled.train.callbacks.description import count_parameters
from unrolled.train.callbacks.history import History
from unrolled.train.callbacks.speed import Speed

SPEED = ("tokens_per_second", "data_wait_share", "peak_memory_mb")


class HParams(Callback):
    """Writes one row of the HParams table after the test.

    columns: name in the table -> dotted path into ``config``, such as ``model.hidden_size``. A setting that ``config``
    lacks or sets to None becomes "none", so that all runs have the same columns. The metrics are those of ``History``,
    tagged ``final/val_accuracy`` and so on (tags of their own, so that no curve gets a second point), the speed, where
    ``Speed`` has measured it, and the number of parameters, all as results.json has them. Must stand behind `History`
    among the callbacks.
    """

    def __init__(self, config: Mapping[str, Any], columns: Mapping[str, str]) -> None:
        settings = OmegaConf.create(dict(config))
        found = {name: OmegaConf.select(settings, key) for name, key in columns.items()}
        self.values = {name: "none" if value is None else value for name, value in found.items()}

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        callbacks = trainer.callbacks  # type: ignore[attr-defined]
        outcome = next(c for c in callbacks if isinstance(c, History)).metrics()
        metrics = {f"final/{name.replace('/', '_')}": outcome[name] for name in sorted(outcome, key=_importance)}
        speed = next((callback.result() for callback in callbacks if isinstance(callback, Speed)), {})
        measured = {f"final/{name}": speed.get(name) for name in SPEED}
        metrics |= {name: value for name, value in measured.items() if value is not None}
        metrics["final/parameters"] = float(count_parameters(pl_module)["total"])
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.log_hyperparams(self.values, metrics, step=0)


def _importance(name: str) -> tuple[int, int, str]:
    """Where a metric stands in the table: test before validation, accuracy first, loss last."""
    stage, _, kind = name.partition("/")
    return (stage != "test", {"accuracy": 0, "macro_f1": 1}.get(kind, 2), name)
