"""Checkpoints of the best and of the last weights."""

import math
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import Tensor

from unrolled.files import DiskFullError


class BestCheckpoint(ModelCheckpoint):
    """Keeps ``best.ckpt``: the weights with the best ``monitor`` in validation, of equals those with the lowest loss.

    Lightning's ModelCheckpoint keeps the first of equals, and accuracies on a small validation set are often equal.
    """

    def __init__(
        self, dirpath: str | Path, monitor: str = "val/accuracy", mode: Literal["min", "max"] = "max", **options: Any
    ) -> None:
        settings: dict[str, Any] = {"filename": "best", "enable_version_counter": False, "save_top_k": 1}
        super().__init__(dirpath, monitor=monitor, mode=mode, **(settings | options))
        self.best_loss = math.inf

    def check_monitor_top_k(self, trainer: pl.Trainer, current: Tensor | None = None) -> bool:
        """Whether the present weights are better than the best so far."""
        loss = float(trainer.callback_metrics.get("val/loss", math.inf))
        best = self.best_k_models.get(self.kth_best_model_path)
        tied = current is not None and best is not None and bool(current == best)
        is_better = super().check_monitor_top_k(trainer, current) or (tied and loss < self.best_loss)
        if is_better:
            self.best_loss = loss
        return is_better

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"best_loss": self.best_loss}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self.best_loss = state_dict["best_loss"]


class LastCheckpoint(ModelCheckpoint):
    """Keeps ``last.ckpt``: the weights at the last validation, at the end of training, or where it was interrupted.

    A callback beside ``BestCheckpoint``, because ``ModelCheckpoint(monitor=..., save_last=True)`` renews its last
    checkpoint only when it has saved a best one.
    """

    def __init__(self, dirpath: str | Path, **options: Any) -> None:
        settings: dict[str, Any] = {"filename": "last", "enable_version_counter": False, "save_on_exception": True}
        super().__init__(dirpath, **(settings | options))

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        # Of several devices all are interrupted together; after another error this one would wait for the rest.
        together = trainer.world_size == 1 or isinstance(exception, KeyboardInterrupt)
        if together and not isinstance(exception, DiskFullError):
            super().on_exception(trainer, pl_module, exception)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_train_end(trainer, pl_module)
        if trainer.global_step != self._last_global_step_saved and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            self._save_checkpoint(trainer, self.format_checkpoint_name({}))


def checkpoint_to_test(trainer: pl.Trainer) -> tuple[str | None, str]:
    """The path of the best checkpoint and what it is; (None, ...) where none was written and the present weights go."""
    for callback in trainer.checkpoint_callbacks:
        if isinstance(callback, ModelCheckpoint) and callback.monitor and Path(callback.best_model_path).is_file():
            score = callback.best_model_score
            value = "" if score is None else f" = {float(torch.as_tensor(score)):.4f}"
            return callback.best_model_path, f"best checkpoint ({callback.monitor}{value})"
    return None, "weights at the end of training (no validation was made)"
