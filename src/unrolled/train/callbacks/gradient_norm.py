"""Norm of the gradient."""

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch.optim import Optimizer

from unrolled.train.callbacks.loggers import logs_after_this_step, write_scalars


class GradientNorm(Callback):
    """Logs ``optim/gradient_norm``: the 2-norm over all parameters, before clipping, at the steps Lightning logs."""

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer
    ) -> None:
        if logs_after_this_step(trainer):
            gradients = [p.grad for p in pl_module.parameters() if p.grad is not None]
            norm = float(torch.stack([gradient.norm() for gradient in gradients]).norm()) if gradients else 0.0
            write_scalars(trainer, {"optim/gradient_norm": norm}, trainer.global_step)
