"""Stopping between two training steps after Ctrl-C, SIGTERM or SIGUSR1."""

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from unrolled.train.signals import SIGNALS, raise_interrupt
from unrolled.train.step_boundaries import between_steps, validation_follows

Handler = Callable[[int, FrameType | None], Any] | int | None


class InterruptBetweenSteps(Callback):
    """Holds signals that say stop back until the running training step has ended, then raises KeyboardInterrupt.

    The weights, the optimizer and the counters in checkpoints that are written on the way out then belong to the same
    step, and ``ResumePoints``, which stands before this callback and looks at ``stopping``, saves them. With
    validation or the epoch's end next, training stops before it; inside validation a signal works at once. A second
    signal gets through at once, too. With several devices all of them stop before the same step, whichever was told.
    Put this callback behind those that change the weights (weight averaging).
    """

    def __init__(self) -> None:
        self._before: dict[int, Handler] = {}
        self._holding = False
        self._several = False
        self._held: int | None = None

    def stopping(self, trainer: pl.Trainer) -> bool:
        """Whether a signal has come, to any of the devices; to be asked on all of them."""
        return bool(trainer.strategy.reduce_boolean_decision(self._held is not None, all=False))

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._held = None
        self._several = trainer.world_size > 1
        if threading.current_thread() is threading.main_thread():  # Python takes signals nowhere else
            self._before = {number: signal.signal(number, self._receive) for number in SIGNALS}

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self._holding = True
        if between_steps(trainer, batch_idx) and self.stopping(trainer):
            self._stop()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if validation_follows(trainer, batch_idx) and self.stopping(trainer):
            self._stop()

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._holding = self._several  # one device alone cannot leave validation

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._restore()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._restore()

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self._holding and self._held is None:
            self._held = number
        else:
            raise_interrupt(number)

    def _stop(self) -> None:
        held, self._held = self._held, None
        raise_interrupt(signal.SIGTERM if held is None else held)  # another device was told

    def _restore(self) -> None:
        self._holding = False
        for number, before in self._before.items():
            if signal.getsignal(number) == self._receive:  # Lightning ignores SIGINT while it shuts down: leave that
                signal.signal(number, before)
        self._before = {}
