"""Saving checkpoints from which an interrupted run continues bit for bit."""

import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loggers import TensorBoardLogger

from unrolled.tbptt.loader import BatchLoader
from unrolled.train.callbacks.interrupt import InterruptBetweenSteps
from unrolled.train.classifier import Classifier
from unrolled.train.devices import of_all_devices
from unrolled.train.resume_files import KEY, resume_points
from unrolled.train.step_boundaries import between_steps, validation_follows


class ResumePoints(Callback):
    """Keeps ``step-<optimizer steps>.ckpt``: all that a run needs to go on bit for bit.

    A point is taken before a training step, where nothing is half done: every ``every_n_steps`` optimizer steps, every
    ``every_minutes``, before the step that validation or the epoch's end follows (so that a run killed in a long
    validation repeats one step), and where ``InterruptBetweenSteps`` is about to stop. The ``keep`` newest stay.

    Beside what Lightning saves (weights, optimizer, learning rate, callbacks) a point holds, of each device, the
    random generators, the callbacks, and the module's ``running_state()``: the carry of a stream, the metrics of the
    epoch so far. It also notes how long each event file was: what a killed run wrote afterwards will be written
    again (`truncate_event_files`). Put this callback before all others.
    """

    def __init__(
        self, dirpath: str | Path, every_n_steps: int | None = None, every_minutes: float | None = 5.0, keep: int = 2
    ) -> None:
        self.dirpath = Path(dirpath)
        self.every_n_steps = every_n_steps
        self.every_minutes = every_minutes
        self.keep = keep
        self._saved_step = 0
        self._saved_at = time.perf_counter()
        self._saving = False
        self._batch_idx = 0  # in its epoch, the batch before which a point is taken or was taken
        self._loader = {"epoch": 0, "next_step": 0}
        self._loaded: dict[str, Any] | None = None  # of this device, until the first step

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if stage == "fit":
            self.dirpath = trainer.strategy.broadcast(self.dirpath)

    # saving

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if self._loaded is not None:
            self._restore(trainer, pl_module)
        elif between_steps(trainer, batch_idx) and self._is_due(trainer, batch_idx):
            self._save(trainer, batch_idx)

    def _is_due(self, trainer: pl.Trainer, batch_idx: int) -> bool:
        since = trainer.global_step - self._saved_step
        if since == 0:  # nothing has been learnt that could be lost
            return False
        if self.every_n_steps is not None and since >= self.every_n_steps:
            return True
        if any(validation_follows(trainer, batch_idx + ahead) for ahead in range(trainer.accumulate_grad_batches)):
            return True
        if self.every_minutes is not None:
            late = time.perf_counter() - self._saved_at >= 60 * self.every_minutes
            if trainer.strategy.reduce_boolean_decision(late, all=False):
                return True
        interrupt = next((c for c in trainer.callbacks if isinstance(c, InterruptBetweenSteps)), None)  # type: ignore[attr-defined]
        return interrupt is not None and interrupt.stopping(trainer)

    def _save(self, trainer: pl.Trainer, batch_idx: int) -> None:
        self._saving, self._batch_idx = True, batch_idx
        try:
            trainer.save_checkpoint(self.dirpath / f"step-{trainer.global_step:08d}.ckpt")
        finally:
            self._saving = False
        self._saved_step, self._saved_at = trainer.global_step, time.perf_counter()
        if trainer.is_global_zero:
            for old in resume_points(self.dirpath)[self.keep :]:
                old.unlink()

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if not self._saving:
            return
        assert isinstance(pl_module, Classifier)
        _before_this_batch(checkpoint["loops"]["fit_loop"], self._batch_idx == 0)
        own = {
            "generators": _random_states(pl_module.device),
            "module": pl_module.running_state(),
            "callbacks": {c.state_key: state for c in trainer.callbacks if (state := c.state_dict())},  # type: ignore[attr-defined]
        }
        checkpoint[KEY] = {
            "devices": of_all_devices(own),
            "loader": {"epoch": trainer.current_epoch, "next_step": self._batch_idx},
            "event_files": _event_file_sizes(trainer),
        }

    # going on

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if trainer.state.fn == "fit" and KEY in checkpoint:
            self._loaded = checkpoint[KEY]["devices"][trainer.global_rank]
            self._loader = checkpoint[KEY]["loader"]
            self._saved_step = checkpoint["global_step"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._saved_at = time.perf_counter()
        if self._loaded is None:
            return
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if trainer.global_rank and callback.state_key in self._loaded["callbacks"]:
                callback.load_state_dict(self._loaded["callbacks"][callback.state_key])
        loader = trainer.train_dataloader  # Lightning restores it too early to reach one that it has sized before
        assert isinstance(loader, BatchLoader)
        loader.load_state_dict(self._loader)
        if self._loader["next_step"] == 0:  # to Lightning nothing is restarted: the epoch begins in the ordinary way
            for loop in (trainer.fit_loop, trainer.fit_loop.epoch_loop, trainer.fit_loop.epoch_loop.val_loop):
                loop._restarting = False
                loop.reset_restart_stage()

    def _restore(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """As late as can be: nothing before the first step may draw a number or touch the carry."""
        assert self._loaded is not None
        assert isinstance(pl_module, Classifier)
        pl_module.load_running_state(self._loaded["module"])
        _restore_random_states(self._loaded["generators"], pl_module.device)
        self._loaded = None


def _before_this_batch(fit_loop: dict[str, Any], at_epoch_start: bool) -> None:
    """Let Lightning's counters say that the batch which has just been fetched is still to come.

    Lightning asks where in its loops a checkpoint was written by comparing counters. What it handles well is one from
    ``on_train_batch_end``: `completed` lags behind by one and is raised on restart, as is the number of logged steps.
    """
    batches = fit_loop["epoch_loop.batch_progress"]
    batches["is_last_batch"] = False
    for counts in (batches["total"], batches["current"]):
        done = 0 if at_epoch_start and counts is batches["current"] else counts["completed"]
        counts.update(ready=done, started=done, processed=done, completed=done if at_epoch_start else done - 1)
    if at_epoch_start:
        for counts in fit_loop["epoch_progress"].values():
            counts.update(ready=counts["processed"], started=counts["processed"], completed=counts["processed"])
    else:
        fit_loop["epoch_loop.state_dict"]["_batches_that_stepped"] -= 1


def _event_file_sizes(trainer: pl.Trainer) -> dict[str, int]:
    if not trainer.is_global_zero:
        return {}
    sizes = {}
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.experiment.flush()
            for path in Path(logger.log_dir).glob("events.out.tfevents.*"):
                sizes[path.name] = path.stat().st_size
    return sizes


def _random_states(device: torch.device) -> dict[str, Any]:
    """The states of the generators of Python, NumPy, torch on the CPU and, where it is one, of the CUDA ``device``."""
    version, numbers, gauss = random.getstate()
    kind, keys, position, has_gauss, cached = np.random.get_state(legacy=True)  # noqa: NPY002, the global generator's only access
    return {
        "python": (version, tuple(numbers), gauss),
        "numpy": (str(kind), torch.from_numpy(np.asarray(keys, dtype=np.int64)), position, has_gauss, cached),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
    }


def _restore_random_states(states: dict[str, Any], device: torch.device) -> None:
    """Put the generators where ``states``, from `_random_states`, has them."""
    random.setstate(states["python"])
    kind, keys, position, has_gauss, cached = states["numpy"]
    numpy_state = (kind, keys.numpy().astype(np.uint32), position, has_gauss, cached)
    np.random.set_state(numpy_state)  # noqa: NPY002
    torch.set_rng_state(states["torch"].cpu())
    if states["cuda"] is not None and device.type == "cuda":
        torch.cuda.set_rng_state(states["cuda"].cpu(), device)
