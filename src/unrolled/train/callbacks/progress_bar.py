"""What is going on, on the terminal."""

import sys
import time
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ProgressBar as LightningProgressBar
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from unrolled.train.columns import clock

SHOWN = {"train/loss": "loss", "accuracy": "accuracy", "val/accuracy": "val accuracy"}


class ProgressBar(LightningProgressBar):
    """One bar for the whole training: epoch, loss, accuracy, tokens per second, time left.

    Loss and accuracy are what the module logs as ``train/loss``, ``accuracy`` (of the last step) and ``val/accuracy``.

    Where standard error is no terminal (a log file, a cluster) it writes a plain line now and then instead. Numbers
    are read from the device at most every ``refresh_seconds`` (terminal) or ``line_seconds`` (no terminal), so showing
    them does not slow training down. Tokens per second counts real tokens of training since the last look; time left
    counts training and validation, at the pace so far.
    """

    def __init__(
        self, refresh_seconds: float = 1.0, line_seconds: float = 15.0, console: Console | None = None
    ) -> None:
        super().__init__()
        self.console = console or Console(stderr=True)
        self.interval = refresh_seconds if self.console.is_terminal else line_seconds
        self._enabled = True
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._evaluation: TaskID | None = None
        self._began = 0.0  # seconds; training
        self._began_at = 0  # batches; more than none after a resumption
        self._batches = 0
        self._looked = 0.0  # seconds; when numbers were last shown
        self._since = 0.0  # seconds; from where tokens are counted
        self._tokens = 0
        self._rate: float | None = None

    def disable(self) -> None:
        self._enabled = False

    def enable(self) -> None:
        self._enabled = True

    def print(self, *args: Any, **kwargs: Any) -> None:
        self.console.print(*args, **kwargs)

    # training

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._batches = self._began_at = trainer.fit_loop.total_batch_idx + 1
        self._began = self._looked = self._since = time.perf_counter()
        self._tokens = 0
        total = self._total(trainer)
        if self._start():
            assert self._bar is not None
            self._task = self._bar.add_task("training", total=total, completed=self._batches, numbers="")
        elif self._enabled:
            steps = "" if total is None else f", {total:,} steps at most"
            self._line(f"training on {pl_module.device}{steps}")

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._batches += 1
        self._tokens += batch.num_tokens
        if time.perf_counter() - self._looked >= self.interval:
            self._measure_rate()
            self._show(trainer)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._measure_rate()
        self._begin_evaluation("validation", trainer.num_val_batches)

    def on_validation_batch_end(self, *args: Any, **kwargs: Any) -> None:
        self._advance_evaluation()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._end_evaluation()
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._show(trainer)
        self._since = time.perf_counter()
        self._tokens = 0

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._stop()

    # test

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not self._start() and self._enabled:
            self._line("testing")
        self._begin_evaluation("test", trainer.num_test_batches)

    def on_test_batch_end(self, *args: Any, **kwargs: Any) -> None:
        self._advance_evaluation()

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._stop()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._stop()

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self._stop()

    # the numbers

    def _total(self, trainer: pl.Trainer) -> int | None:
        """Batches in the whole training, or None where nobody knows."""
        per_epoch = trainer.num_training_batches
        totals = []
        if trainer.max_epochs is not None and trainer.max_epochs >= 0 and per_epoch != float("inf"):
            totals.append(int(trainer.max_epochs * per_epoch))
        if trainer.max_steps is not None and trainer.max_steps >= 0:
            totals.append(int(trainer.max_steps * trainer.accumulate_grad_batches))
        return min(totals, default=None)

    def _measure_rate(self) -> None:
        now = time.perf_counter()
        if self._tokens and now > self._since:
            self._rate = self._tokens / (now - self._since)
        self._since, self._tokens = now, 0

    def _numbers(self, trainer: pl.Trainer) -> list[str]:
        metrics = trainer.callback_metrics
        numbers = [f"{short} {float(metrics[name]):.3f}" for name, short in SHOWN.items() if name in metrics]
        if self._rate is not None:
            numbers.append(f"{self._rate / 1000:.1f}k tokens/s")
        total, done = self._total(trainer), self._batches - self._began_at
        if total is not None and done:
            left = (time.perf_counter() - self._began) / done * max(total - self._batches, 0)
            numbers.append(f"{clock(left)} left")
        return numbers

    def _show(self, trainer: pl.Trainer) -> None:
        self._looked = time.perf_counter()
        if not self._enabled:
            return
        epochs = "" if trainer.max_epochs in (None, -1) else f"/{trainer.max_epochs}"
        epoch = f"epoch {trainer.current_epoch + 1}{epochs}"
        if self._bar is not None and self._task is not None:
            numbers = "  ".join(self._numbers(trainer))
            self._bar.update(self._task, description=epoch, completed=self._batches, numbers=numbers)
        else:
            self._line("  ".join([epoch, f"step {trainer.global_step:,}", *self._numbers(trainer)]))

    # the bar

    def _start(self) -> bool:
        """Open the bar where there is a terminal; whether there is one."""
        if not self._enabled or not self.console.is_terminal:
            return False
        self._stop()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total}"),
            TextColumn("{task.fields[numbers]}"),
            console=self.console,
            refresh_per_second=4,
        )
        self._bar.start()
        return True

    def _stop(self) -> None:
        if self._bar is not None:
            if self._task is not None:
                self._bar.update(self._task, completed=self._batches)
            self._bar.stop()
        self._bar = self._task = self._evaluation = None

    def _begin_evaluation(self, name: str, batches: list[int | float] | int | float) -> None:
        total = sum(batches) if isinstance(batches, list) else batches
        if self._bar is not None:
            self._evaluation = self._bar.add_task(name, total=total, numbers="")

    def _advance_evaluation(self) -> None:
        if self._bar is not None and self._evaluation is not None:
            self._bar.advance(self._evaluation)

    def _end_evaluation(self) -> None:
        if self._bar is not None and self._evaluation is not None:
            self._bar.remove_task(self._evaluation)
        self._evaluation = None

    def _line(self, text: str) -> None:
        self.console.print(text, highlight=False, soft_wrap=True)
        sys.stderr.flush()
