"""Helpers of callbacks that log: which steps are logged, sums over devices, and the loggers themselves."""

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import TensorBoardLogger

from unrolled.train.callbacks.step_boundaries import steps_after

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


def logs_after_this_step(trainer: pl.Trainer) -> bool:
    """Whether the optimizer step that is about to happen is one that Lightning logs (each ``log_every_n_steps``-th)."""
    every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]
    return every > 0 and (trainer.global_step + 1) % every == 0


def logged_this_step(trainer: pl.Trainer, batch_idx: int) -> bool:
    """Whether batch ``batch_idx`` (in its epoch) has just ended an optimizer step that Lightning logs."""
    every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]
    return every > 0 and trainer.global_step % every == 0 and steps_after(trainer, batch_idx)


def summed(trainer: pl.Trainer, counts: Iterable[float]) -> list[float]:
    """``counts`` of all devices together; to be asked on all of them."""
    numbers = list(counts)
    if trainer.world_size > 1:
        here = torch.tensor(numbers, dtype=torch.float64, device=trainer.strategy.root_device)
        numbers = trainer.strategy.reduce(here, reduce_op="sum").tolist()
    return numbers


def write_scalars(trainer: pl.Trainer, scalars: Mapping[str, float], step: int) -> None:
    """Send ``scalars`` to every logger at ``step``, past Lightning's own queue."""
    for logger in trainer.loggers:
        logger.log_metrics(dict(scalars), step=step)


def summary_writers(trainer: pl.Trainer) -> Iterator["SummaryWriter"]:
    """The TensorBoard writers of this process; none on other ranks and none without a TensorBoard logger."""
    if not trainer.is_global_zero:
        return
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            yield logger.experiment
