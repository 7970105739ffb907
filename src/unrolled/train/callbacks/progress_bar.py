"""Terminal progress bar."""

import logging
import time
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import RichProgressBar
from rich.console import Console

from unrolled.arguments import counted
from unrolled.train.columns import clock, duration

log = logging.getLogger(__name__)

SHOWN = {"train/loss": "loss", "accuracy": "acc", "val/accuracy": "val acc"}


class ProgressBar(RichProgressBar):
    """Lightning's bar, one for each epoch, with loss, accuracy, tokens per second and the time left.

    Tokens per second counts no padding; the time left is that of the whole training with its validations, at the pace
    so far. Numbers are read from the device at most every ``refresh_seconds``: Lightning's own bar reads them after
    every batch, which a GPU has to wait for.

    Where standard error is no terminal (a log file, a cluster) a plain line takes the bar's place, at every validation
    and every ``line_seconds``. After ``first_seconds`` a line says how long all of it will take at most.

    console: arguments of `rich.console.Console`.
    """

    def __init__(
        self, refresh_seconds: float = 1.0, line_seconds: float = 15.0, first_seconds: float = 3.0, **console: Any
    ) -> None:
        console = {"stderr": True} | console
        super().__init__(refresh_rate=4, leave=True, console_kwargs=console)
        self.lines = Console(**console)
        self.refresh_seconds = refresh_seconds
        self.line_seconds = line_seconds
        self.first_seconds = first_seconds
        self._first_tokens = 0  # of the batches after the first, by which the whole is judged
        self._first_began: float | None = None  # seconds, when the first batch had ended
        self._foretold = False
        self._batches = self._began_at = 0  # batches trained on, now and when this session began
        self._began = 0.0  # seconds, as the next four
        self._looked = 0.0
        self._wrote = 0.0
        self._counted = 0.0
        self._ended = 0.0  # when the last batch had been trained on: what follows, as saving, does not count
        self._tokens = 0  # since `_counted`
        self._rate: float | None = None  # tokens per second
        self._numbers: dict[str, str] = {}

    @property
    def is_enabled(self) -> bool:
        """Whether there is a bar: on a terminal, in the first process."""
        return super().is_enabled and self.lines.is_terminal

    @property
    def _is_narrow(self) -> bool:
        """Whether the terminal has no room for all numbers beside the bar."""
        return self.lines.width < 110

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        self._batches = self._began_at = trainer.fit_loop.total_batch_idx + 1
        self._began = self._wrote = self._counted = self._ended = time.perf_counter()
        self._tokens = 0
        total = self._total(trainer)
        self._line(f"training on {pl_module.device}" + ("" if total is None else f", {total:,} batches at most"))

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._ended = time.perf_counter()
        self._batches += 1
        self._tokens += batch.num_tokens
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        if not self._foretold:
            self._foretell(trainer, batch.num_tokens)
        if not self.is_enabled and time.perf_counter() - self._wrote >= self.line_seconds:
            self._line_of_numbers(trainer, pl_module)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_validation_start(trainer, pl_module)
        self._measure_rate()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._looked = 0.0  # the new accuracy is shown at once
        super().on_validation_end(trainer, pl_module)
        if trainer.state.fn == "fit" and not trainer.sanity_checking and not self.is_enabled:
            self._line_of_numbers(trainer, pl_module)
        self._counted += time.perf_counter() - self._ended  # what came after the last batch was no training

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_test_start(trainer, pl_module)
        self._line("testing")

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        """What stands behind the bar, at most ``refresh_seconds`` old."""
        now = time.perf_counter()
        if now - self._looked < self.refresh_seconds:
            return self._numbers
        self._looked = now
        self._measure_rate()
        logged = {} if trainer.sanity_checking else trainer.callback_metrics  # of a few batches, which say nothing
        names = [name for name in SHOWN if name in logged and not (self._is_narrow and name == "accuracy")]
        self._numbers = {SHOWN[name]: f"{float(logged[name]):.3f}" for name in names}
        if self._rate is not None:
            self._numbers["tokens/s"] = f"{self._rate / 1000:.1f}k"
        total, done = self._total(trainer), self._batches - self._began_at
        if total is not None and done:
            self._numbers["left"] = clock((now - self._began) / done * max(total - self._batches, 0))
        return self._numbers

    def configure_columns(self, trainer: pl.Trainer) -> list[Any]:
        """Epoch, bar (where there is room) and batches; time and speed stand among the numbers."""
        description, bar, batches = super().configure_columns(trainer)[:3]
        bar.bar_width = 20  # leaves room for the numbers
        return [description, batches] if self._is_narrow else [description, bar, batches]

    def _get_train_description(self, current_epoch: int) -> str:
        epochs = self.trainer.max_epochs
        return f"epoch {current_epoch + 1}" + ("" if epochs in (None, -1) else f"/{epochs}")

    def _measure_rate(self) -> None:
        """Take the rate anew where enough has been trained on since the last time: batches differ in length."""
        seconds = self._ended - self._counted
        if self._tokens and seconds > 0 and (self._rate is None or seconds >= self.refresh_seconds):
            self._rate = self._tokens / seconds
            self._counted, self._tokens = self._ended, 0

    def _foretell(self, trainer: pl.Trainer, tokens: int) -> None:
        """Say how long training will take at most, once a few seconds of it are known.

        By tokens, because batches differ in length; one of validation takes a third of the time of one of training.
        """
        now = time.perf_counter()
        if self._first_began is None:
            self._first_began = now
            return
        self._first_tokens += tokens
        seconds = now - self._first_began
        if seconds < self.first_seconds:
            return
        self._foretold, total = True, self._total(trainer)
        train, valid = (getattr(each, "schedule", None) for each in (trainer.train_dataloader, trainer.val_dataloaders))
        if total is None or total <= self._batches or train is None or not trainer.is_global_zero:
            return
        epochs = (total - self._batches) / len(train)
        read = train.corpus.lengths.sum() + (0 if valid is None else valid.corpus.lengths.sum() / 3)
        whole = duration(epochs * read / trainer.world_size * seconds / self._first_tokens)
        log.info("Training will take at most about %s (%s to go).", whole, counted(epochs, "epoch", ".3g"))

    def _total(self, trainer: pl.Trainer) -> int | None:
        """Batches in the whole training, or None where nobody knows."""
        per_epoch, totals = trainer.num_training_batches, []
        if trainer.max_epochs is not None and trainer.max_epochs >= 0 and per_epoch != float("inf"):
            totals.append(int(trainer.max_epochs * per_epoch))
        if trainer.max_steps is not None and trainer.max_steps >= 0:
            totals.append(int(trainer.max_steps * trainer.accumulate_grad_batches))
        return min(totals, default=None)

    def _line_of_numbers(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._wrote, self._looked = time.perf_counter(), 0.0
        numbers = self.get_metrics(trainer, pl_module).items()
        parts = [self._get_train_description(trainer.current_epoch), f"step {trainer.global_step:,}"]
        self._line("  ".join(parts + [f"{name} {value}" for name, value in numbers]))

    def _line(self, text: str) -> None:
        if self._enabled and not self.lines.is_terminal:
            self.lines.print(text, highlight=False, soft_wrap=True)
