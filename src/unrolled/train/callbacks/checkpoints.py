"""Which weights are kept."""

from functools import partial
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint, WeightAveraging
from torch import Tensor


class BestCheckpoint(ModelCheckpoint):
    """Keeps ``best.ckpt``: the weights with the best ``monitor`` in validation."""

    def __init__(
        self, dirpath: str | Path, monitor: str = "val/accuracy", mode: Literal["min", "max"] = "max", **options: Any
    ) -> None:
        settings: dict[str, Any] = {"filename": "best", "enable_version_counter": False, "save_top_k": 1}
        super().__init__(dirpath, monitor=monitor, mode=mode, **(settings | options))


class LastCheckpoint(ModelCheckpoint):
    """Keeps ``last.ckpt``: the weights at the last validation, at the end of training, or where it was interrupted.

    A callback beside ``BestCheckpoint``, because ``ModelCheckpoint(monitor=..., save_last=True)`` renews its last
    checkpoint only when it has saved a best one.
    """

    def __init__(self, dirpath: str | Path, **options: Any) -> None:
        settings: dict[str, Any] = {"filename": "last", "enable_version_counter": False, "save_on_exception": True}
        super().__init__(dirpath, **(settings | options))

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        if trainer.world_size == 1 or isinstance(exception, KeyboardInterrupt):  # else the others would be waited for
            super().on_exception(trainer, pl_module, exception)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_train_end(trainer, pl_module)
        if trainer.global_step != self._last_global_step_saved and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            self._save_checkpoint(trainer, self.format_checkpoint_name({}))


class AveragedWeights(WeightAveraging):
    """Validates, tests and saves an exponential moving average of the weights (Polyak & Juditsky, 1992).

    After n steps an average moves by the share 1 - min(decay, (1 + n) / (10 + n)) towards the weights, so it reaches
    back over about 1 / (1 - decay) steps, and over fewer at the start, when the first weights should soon be forgotten.

    In a checkpoint ``state_dict`` is the average, so whoever loads it gets the tested weights;
    ``current_model_state`` is what training goes on from. Lightning's own callback, asked to test a checkpoint after
    fitting with the same trainer, puts the weights without averaging into the model; this one does not.
    """

    def __init__(self, decay: float = 0.999) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"decay must lie between 0 and 1, got {decay}")
        super().__init__(use_buffers=False, multi_avg_fn=partial(_move, decay))
        self._swapped = False

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_validation_epoch_start(trainer, pl_module)
        self._swapped = True

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_validation_epoch_end(trainer, pl_module)
        self._swapped = False

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        if self._swapped:  # stopped in validation: a checkpoint written now must not take one for the other
            self.on_validation_epoch_end(trainer, pl_module)

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if trainer.state.fn == "fit":
            super().on_load_checkpoint(trainer, pl_module, checkpoint)


@torch.no_grad()
def _move(decay: float, averages: list[Tensor], weights: list[Tensor], updates: Tensor | int) -> None:
    steps = int(updates)
    share = 1 - min(decay, (1 + steps) / (10 + steps))
    for average, weight in zip(averages, weights, strict=True):
        average.lerp_(weight, share)


def checkpoint_to_test(trainer: pl.Trainer) -> tuple[str | None, str]:
    """The path of the best checkpoint and what it is; (None, ...) where none was written and the present weights go."""
    for callback in trainer.checkpoint_callbacks:
        if isinstance(callback, ModelCheckpoint) and callback.monitor and Path(callback.best_model_path).is_file():
            score = callback.best_model_score
            value = "" if score is None else f" = {float(torch.as_tensor(score)):.4f}"
            return callback.best_model_path, f"best checkpoint ({callback.monitor}{value})"
    return None, "weights at the end of training (no validation was made)"
