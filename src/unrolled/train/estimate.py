"""An estimate of how long a training will take, from a few of its own steps, whose weights are thrown away."""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback, EarlyStopping, ProgressBar

from unrolled.arguments import counted
from unrolled.config import Config
from unrolled.tbptt.datamodule import DocumentsDataModule
from unrolled.tbptt.loader import ListLoader
from unrolled.train.build import build
from unrolled.train.callbacks.build import build_callbacks
from unrolled.train.callbacks.speed import now
from unrolled.train.columns import duration

SAMPLED = 200  # batches of the first epoch that are ordered by size
TIMED = 5  # of these: from the middle of each fifth of the sizes
WARM_UP = 2  # steps that do not count
ALONE: dict[str, Any] = {  # one pass over what is timed, on one device, and nothing else
    "max_epochs": 1,
    "max_steps": -1,
    "max_time": None,
    "limit_train_batches": 1.0,
    "overfit_batches": 0.0,
    "limit_val_batches": 0,
    "num_sanity_val_steps": 0,
    "devices": 1,
    "num_nodes": 1,
    "strategy": "auto",
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
}


@dataclass(frozen=True)
class Estimate:
    """How long a training takes, without validation."""

    epochs: float
    tokens: float  # of an epoch, on one device
    seconds: float  # of an epoch

    def __str__(self) -> str:
        return (
            f"training will take at most about {duration(self.epochs * self.seconds)} "
            f"({counted(self.epochs, 'epoch', '.3g')}, "
            f"{_count(self.tokens)} tokens each, at {self.tokens / self.seconds:,.0f} tokens/s; validation comes "
            "on top)"
        )


class _Clock(Callback):
    """Seconds of each step, from one batch's start to its end."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._began = 0.0

    def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        self._began = now(trainer.strategy.root_device)

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        self.seconds.append(now(trainer.strategy.root_device) - self._began)


def estimate(config: Config, model: pl.LightningModule, data: DocumentsDataModule) -> Estimate:
    """Time some training steps of ``model``, which is trained by them, and extrapolate to the epochs of ``config``.

    The batches stand for all: the first epoch's, ordered by size, are parted into as many equal parts as there are
    steps to time, and each part's middle one is taken.
    """
    given = config.trainer
    devices = given.get("devices") if isinstance(given.get("devices"), int) else 1
    processes = max(int(devices or 1), 1) * int(given.get("num_nodes") or 1)
    batches = data.train_schedule(0, processes).batches(0)
    some = [batches[i] for i in np.linspace(0, len(batches) - 1, min(len(batches), SAMPLED)).astype(int)]
    some.sort(key=lambda batch: batch.num_positions)
    parts = min(TIMED, len(some))
    timed = [some[(2 * part + 1) * len(some) // (2 * parts)] for part in range(parts)]
    clock = _Clock()
    callbacks = [each for each in build_callbacks(config) if not isinstance(each, (ProgressBar, EarlyStopping))]
    trainer = build("trainer", given, callbacks=[*callbacks, clock], **ALONE)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="You defined a `validation_step`")
        trainer.fit(model, train_dataloaders=ListLoader([timed[parts // 2]] * WARM_UP + timed))
    seconds = float(np.mean(clock.seconds[WARM_UP:]))  # of a step
    share = _share(given.get("limit_train_batches"), len(batches))
    steps = share * len(batches)
    epochs = float(given.max_epochs) if (given.get("max_epochs") or -1) > 0 else float("inf")
    if (given.get("max_steps") or -1) > 0:
        epochs = min(epochs, given.max_steps * (given.get("accumulate_grad_batches") or 1) / steps)
    tokens = share * float(data.prepared.train.lengths.sum()) / processes
    return Estimate(epochs, tokens, steps * seconds)


def _share(limit: float | None, batches: int) -> float:
    """Of an epoch's batches that are read: `limit_train_batches` is a number of them or a share."""
    if limit is None:
        return 1.0
    return limit if isinstance(limit, float) else min(limit / batches, 1.0)


def _count(number: float) -> str:
    return f"{number / 1e6:.1f} M" if number >= 1e6 else f"{number:,.0f}"
