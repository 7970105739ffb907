"""Early stopping that one key switches on."""

import logging
import sys

import pytorch_lightning as pl
from pytorch_lightning.callbacks import EarlyStopping as LightningEarlyStopping

log = logging.getLogger(__name__)


class EarlyStopping(LightningEarlyStopping):
    """Ends training after ``patience`` validations in which ``monitor`` has not improved; None: never.

    What it has seen is part of a checkpoint, so a resumed run stops where it would have stopped.
    """

    def __init__(
        self,
        monitor: str = "val/loss",
        patience: int | None = None,
        min_delta: float = 0.0,
        mode: str = "min",
        stopping_threshold: float | None = None,
    ) -> None:
        if patience is not None and patience < 1:
            raise ValueError(f"patience={patience}: at least 1 validation, or null to switch it off")
        self.active = patience is not None or stopping_threshold is not None
        super().__init__(
            monitor,
            min_delta=min_delta,
            patience=sys.maxsize if patience is None else patience,
            mode=mode,
            stopping_threshold=stopping_threshold,
            check_on_train_epoch_end=False,  # but after each validation, whose checkpoints are written afterwards
        )

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not self.active or trainer.should_stop:
            return
        super().on_validation_end(trainer, pl_module)
        stopped: bool = trainer.should_stop
        if stopped and trainer.is_global_zero:
            best = float(self.best_score)
            log.info("Training ends after epoch %d: best %s %.4f.", trainer.current_epoch + 1, self.monitor, best)
