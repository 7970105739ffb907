"""Learning rate and norm of the gradient."""

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch.optim import Optimizer

from unrolled.train.callbacks.loggers import write_scalars
from unrolled.train.step_boundaries import logs_after_this_step


class LearningRate(Callback):
    """Logs ``optim/learning_rate`` at the steps that Lightning logs.

    Lightning's own monitor names its curve after the optimizer's class, so that runs with different optimizers do not
    share a chart.
    """

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer
    ) -> None:
        if logs_after_this_step(trainer):
            write_scalars(trainer, {"optim/learning_rate": optimizer.param_groups[0]["lr"]}, trainer.global_step)


class GradientNorm(Callback):
    """Logs ``optim/gradient_norm``: the 2-norm over all parameters, before clipping, at the steps Lightning logs."""

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer
    ) -> None:
        if logs_after_this_step(trainer):
            norms = [p.grad.norm() for p in pl_module.parameters() if p.grad is not None]  # of sparse gradients, too
            norm = float(torch.stack(norms).norm()) if norms else 0.0
            write_scalars(trainer, {"optim/gradient_norm": norm}, trainer.global_step)
