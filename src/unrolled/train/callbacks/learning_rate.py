"""Learning rate."""

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback
from torch.optim import Optimizer

from unrolled.train.callbacks.loggers import logs_after_this_step, write_scalars


class LearningRate(Callback):
    """Logs ``optim/learning_rate`` at the steps that Lightning logs.

    With several parameter groups it is ``optim/learning_rate_<name>``, or the group's number where it has no name.
    (Lightning's own monitor names its curve after the optimizer's class, so that runs with different optimizers do
    not share a chart.)
    """

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer
    ) -> None:
        if not logs_after_this_step(trainer):
            return
        groups = optimizer.param_groups
        if len(groups) == 1:
            rates = {"optim/learning_rate": float(groups[0]["lr"])}
        else:
            rates = {
                f"optim/learning_rate_{group.get('name', i)}": float(group["lr"]) for i, group in enumerate(groups)
            }
        write_scalars(trainer, rates, trainer.global_step)
