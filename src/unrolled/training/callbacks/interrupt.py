"""Ctrl-C and SIGTERM between two steps, never inside one."""

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

Handler = Callable[[int, FrameType | None], Any] | int | None
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class InterruptBetweenSteps(Callback):
    """Holds SIGINT and SIGTERM back until the running training step has ended, then lets them do what they did before.

    The weights, the optimizer and the counters in the checkpoint that ``ModelCheckpoint(save_on_exception=True)``
    writes then belong to the same step. The same signal a second time gets through at once. Put this callback behind
    those that change the weights (weight averaging).
    """

    def __init__(self) -> None:
        self._before: dict[int, Handler] = {}
        self._in_step = False
        self._held: tuple[int, FrameType | None] | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if threading.current_thread() is threading.main_thread():  # Python takes signals nowhere else
            self._before = {number: signal.signal(number, self._receive) for number in SIGNALS}

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self._in_step = True

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._in_step = False
        if self._held is not None:
            held, self._held = self._held, None
            self._pass_on(*held)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._restore()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._restore()

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self._in_step and self._held is None:
            self._held = (number, frame)
        else:
            self._pass_on(number, frame)

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        before = self._before.get(number)
        if callable(before):
            before(number, frame)
        elif before == signal.SIG_DFL:
            self._restore()
            signal.raise_signal(number)

    def _restore(self) -> None:
        self._in_step = False
        for number, before in self._before.items():
            if signal.getsignal(number) == self._receive:  # Lightning ignores SIGINT while it shuts down: leave that
                signal.signal(number, before)
        self._before = {}
