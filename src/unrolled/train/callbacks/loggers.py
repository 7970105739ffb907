"""Helpers of callbacks that log: sums over devices, and the loggers themselves."""

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import TensorBoardLogger

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


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
