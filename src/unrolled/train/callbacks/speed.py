"""Training speed in tokens per second, and peak memory."""

import statistics
import time
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

from unrolled.train.callbacks.loggers import summed, write_scalars
from unrolled.train.memory import peak_memory_mb, reset_peak_memory
from unrolled.train.step_boundaries import logged_this_step, steps_after


@dataclass
class Window:
    """What happened between two looks at the clock."""

    began: float  # seconds
    steps: int = 0  # optimizer steps
    tokens: int = 0
    waited: float = 0.0  # seconds between one batch's end and the next one's start
    ended: float = 0.0

    def rates(self) -> dict[str, float]:
        seconds = self.ended - self.began
        return {
            "speed/tokens_per_second": self.tokens / seconds,
            "speed/ms_per_step": 1000 * seconds / self.steps,
            "speed/data_wait_share": self.waited / seconds,
        }


class Speed(Callback):
    """Logs ``speed/tokens_per_second``, ``ms_per_step``, ``data_wait_share`` and ``peak_memory_mb``.

    Padding is not counted. Time is wall time of the training loop, waiting for data included, validation and
    checkpointing at the epoch's end left out. The device is waited for at window edges only, which are the steps that
    Lightning logs anyway (``log_every_n_steps``). The first ``skip_steps`` optimizer steps, in which allocators and
    kernels warm up, belong to no window, after a resumption anew. Under DDP the ranks' tokens are summed. Put this
    callback last, so that the others' work does not count as waiting for data.
    """

    def __init__(self, skip_steps: int = 5) -> None:
        self.skip_steps = skip_steps
        self._rates: list[dict[str, float]] = []  # of each window
        self._measured_steps = 0
        self._window: Window | None = None
        self._batch_ended: float | None = None
        self._first_step = 0
        self._peak_memory_mb: float | None = None
        self._peak_before = 0.0  # MiB, in earlier sessions of this run
        self._resumed = False

    def state_dict(self) -> dict[str, Any]:
        windows = [dict(rates) for rates in self._rates]
        return {"windows": windows, "steps": self._measured_steps, "peak_memory_mb": self._peak_memory_mb}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._rates = [dict(rates) for rates in state_dict["windows"]]
        self._measured_steps = state_dict["steps"]
        self._peak_memory_mb = state_dict["peak_memory_mb"]
        self._peak_before = self._peak_memory_mb or 0.0
        self._resumed = True

    def result(self) -> dict[str, float | None]:
        """Medians over all windows of the run so far; None where nothing could be measured (a very short run)."""
        medians: dict[str, float | None] = {
            name: statistics.median(rates[f"speed/{name}"] for rates in self._rates) if self._rates else None
            for name in ("tokens_per_second", "ms_per_step", "data_wait_share")
        }
        return medians | {"peak_memory_mb": self._peak_memory_mb, "measured_steps": float(self._measured_steps)}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not self._resumed:
            self._rates, self._measured_steps, self._peak_before = [], 0, 0.0
        self._resumed = False
        self._window = self._batch_ended = None
        self._first_step = trainer.global_step
        reset_peak_memory(pl_module.device)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if self._window is not None and self._batch_ended is not None:
            self._window.waited += time.perf_counter() - self._batch_ended
        elif self._window is None and trainer.global_step - self._first_step >= self.skip_steps:
            self._window = Window(began=now(pl_module.device))

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._window is not None:
            self._window.tokens += batch.num_tokens
            self._window.steps += steps_after(trainer, batch_idx)
            if logged_this_step(trainer, batch_idx):
                self._close(trainer, pl_module)
                self._window = Window(began=self._window.ended)
        self._batch_ended = time.perf_counter()

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._interrupt(trainer, pl_module)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._interrupt(trainer, pl_module)

    def _interrupt(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Something other than training begins: end the window here and open the next at the next batch."""
        if trainer.training or trainer.validating:
            if self._window is not None and self._window.steps:
                self._close(trainer, pl_module)
            self._window = self._batch_ended = None
            self._note_memory(pl_module.device)

    def _note_memory(self, device: torch.device) -> None:
        self._peak_memory_mb = max(peak_memory_mb(device), self._peak_before)

    def _close(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        window = self._window
        assert window is not None
        window.ended = now(pl_module.device)
        window.tokens = int(summed(trainer, [window.tokens])[0])
        self._note_memory(pl_module.device)
        rates = window.rates()
        self._rates.append(rates)
        self._measured_steps += window.steps
        write_scalars(trainer, {**rates, "speed/peak_memory_mb": self._peak_memory_mb or 0.0}, trainer.global_step - 1)


def now(device: torch.device) -> float:
    """Seconds, once the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
    return time.perf_counter()
