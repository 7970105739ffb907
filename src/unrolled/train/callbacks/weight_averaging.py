"""Exponential moving average of the weights."""

from functools import partial
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import WeightAveraging
from torch import Tensor


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
