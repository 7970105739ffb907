"""Exponential moving average of the weights."""

from collections.abc import Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import WeightAveraging
from torch import Tensor, nn

from unrolled.nn.engines.passes import few_threads
from unrolled.train.row_adamw import RowAdamW, Rows


class AveragedWeights(WeightAveraging):
    """Validates, tests and saves an exponential moving average of the weights (Polyak & Juditsky, 1992).

    After n steps an average moves by the share 1 - min(decay, (1 + n) / (10 + n)) towards the weights, so it reaches
    back over about 1 / (1 - decay) steps, and over fewer at the start, when the first weights should soon be forgotten.

    In a checkpoint ``state_dict`` is the average, so whoever loads it gets the tested weights;
    ``current_model_state`` is what training goes on from. Lightning's own callback, asked to test a checkpoint after
    fitting with the same trainer, puts the weights without averaging into the model; this one does not.

    Weights that `RowAdamW` updates row by row are averaged so, too.
    """

    def __init__(self, decay: float = 0.999) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"decay must lie between 0 and 1, got {decay}")
        super().__init__(use_buffers=False, multi_avg_fn=self._move)
        self.decay = decay
        self._swapped = False
        self._by_rows: dict[int, Rows] = {}  # by the address of the weight
        self._averages: list[nn.Parameter] = []
        self._weights: list[nn.Parameter] = []

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        optimizers = [optimizer for optimizer in trainer.optimizers if isinstance(optimizer, RowAdamW)]
        self._by_rows = {rows.weight.data_ptr(): rows for optimizer in optimizers for rows in optimizer.all_rows()}
        if self._begun():
            self._attach(pl_module)

    def _begun(self) -> bool:
        return self._average_model is not None and int(self._average_model.n_averaged) > 0

    def _attach(self, pl_module: pl.LightningModule) -> None:
        """Pair weights and averages, and let rows know where theirs is."""
        assert self._average_model is not None
        self._averages = list(self._average_model.module.parameters())
        self._weights = list(pl_module.parameters())
        for average, weight in zip(self._averages, self._weights, strict=True):
            if (rows := self._by_rows.get(weight.data_ptr())) is not None:
                rows.attach(average.detach())

    def _flush(self) -> None:
        for rows in self._by_rows.values():
            rows.flush()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        model = self._average_model
        if model is None or not self._begun():
            self._flush()  # the first average is a copy of the weights
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
            if self._begun():
                self._attach(pl_module)
        elif trainer.global_step > self._latest_update_step:  # as Lightning's, which looks for all weights every time
            self._move(self._averages, self._weights, model.n_averaged)
            model.n_averaged += 1
            self._latest_update_step = trainer.global_step

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._flush()
        super().on_train_end(trainer, pl_module)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        super().on_save_checkpoint(trainer, pl_module, checkpoint)
        for name, weight in pl_module.named_parameters():
            if (rows := self._by_rows.get(weight.data_ptr())) is not None and rows.now:
                checkpoint["state_dict"][name] = rows.up_to_date()[1]

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._flush()
        super().on_validation_epoch_start(trainer, pl_module)
        self._swapped = True

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_validation_epoch_end(trainer, pl_module)
        self._swapped = False

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take over what validation has fitted: it belongs to the averaged weights, which a checkpoint takes next."""
        if self._average_model is not None:
            for average, own in zip(self._average_model.module.buffers(), pl_module.buffers(), strict=True):
                average.copy_(own)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        if self._swapped:  # stopped in validation: a checkpoint written now must not take one for the other
            self.on_validation_epoch_end(trainer, pl_module)

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if trainer.state.fn == "fit":
            super().on_load_checkpoint(trainer, pl_module, checkpoint)

    @torch.no_grad()
    def _move(self, averages: Sequence[Tensor], weights: Sequence[Tensor], updates: Tensor | int) -> None:
        steps = int(updates)
        share = 1 - min(self.decay, (1 + steps) / (10 + steps))
        own, given = [], []
        for average, weight in zip(averages, weights, strict=True):
            if (rows := self._by_rows.get(weight.data_ptr())) is not None:
                rows.follow(share)
            else:
                own.append(average)
                given.append(weight)
        with few_threads(own):
            torch._foreach_lerp_(own, given, share)
