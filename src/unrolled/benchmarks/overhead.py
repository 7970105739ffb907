"""Benchmark of what Lightning, callbacks and logging cost, against a bare loop over the same steps."""

import logging
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loggers import TensorBoardLogger
from torch.nn.utils import clip_grad_norm_

from unrolled.benchmarks.timing import Times, ratios
from unrolled.config import checked
from unrolled.data.prepare import prepare
from unrolled.tbptt.batch import Batch
from unrolled.tbptt.datamodule import DocumentsDataModule
from unrolled.tbptt.loader import ListLoader
from unrolled.train.build import build, build_classifier
from unrolled.train.callbacks.build import build_callbacks
from unrolled.train.callbacks.speed import Speed
from unrolled.train.estimate import ALONE
from unrolled.train.recipe import Statistics, decide


class _Clock(Callback):
    """Seconds from the end of the first step to the end of the last, on the wall and of this process."""

    def __init__(self) -> None:
        self.first: tuple[float, float] | None = None
        self.last = (0.0, 0.0)

    def look(self) -> None:
        self.last = (time.perf_counter(), time.process_time())
        self.first = self.first or self.last

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        self.look()

    def took(self) -> tuple[float, float]:
        """Wall and process seconds."""
        assert self.first is not None
        return self.last[0] - self.first[0], self.last[1] - self.first[1]


def measure(config: DictConfig, steps: int, repetitions: int) -> dict[str, object]:
    """Train ``steps`` steps of ``config`` both ways, in turn: seconds of each, and the overhead as a share.

    Both read the same documents in the same order with the same weights at the start, clip, and step the same
    optimizer and learning-rate schedule. The first step of each does not count. On a machine that others use, the
    processor's time tells more than the clock on the wall; both are given.
    """
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    valid = checked(config)
    if valid.threads is not None:
        torch.set_num_threads(valid.threads)
    prepared = prepare(valid.data, valid.text, valid.seed)
    decide(config, Statistics.of(prepared))
    valid = checked(config)
    data = DocumentsDataModule(prepared, valid.tbptt, valid.seed)
    schedule = data.train_schedule()
    chosen = schedule.batches(0)
    batches = [chosen[i] for i in range(min(steps, len(chosen)))]
    seconds: dict[str, list[tuple[float, float]]] = {"bare": [], "framework": []}
    for repetition in range(repetitions + 1):
        for name, run in (("bare", _bare), ("framework", _framework)):
            pl.seed_everything(valid.seed, verbose=False)
            took = run(config, build_classifier(valid, prepared), batches)
            if repetition:  # the first round warms caches up
                seconds[name].append(took)
    result: dict[str, object] = {"steps": len(batches), "tokens": sum(batch.num_tokens for batch in batches[1:])}
    for kind, clock in enumerate(("wall", "cpu")):
        bare, framework = (Times([each[kind] for each in seconds[name]]) for name in ("bare", "framework"))
        low, middle, high = (share - 1 for share in ratios(bare, framework))
        result[clock] = {
            "overhead": middle,
            "overhead_low": low,
            "overhead_high": high,
            "bare_seconds": bare.seconds,
            "framework_seconds": framework.seconds,
        }
    return result


def _bare(config: DictConfig, model: pl.LightningModule, batches: list[Batch]) -> tuple[float, float]:
    optimizer = build("optimizer", config.optimizer)(model.parameters())
    scheduler = build("scheduler", config.scheduler)(optimizer, total_steps=len(batches))
    model.train()
    clock = _Clock()
    for batch in batches:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(batch), batch.labels)
        loss.backward()
        clip_grad_norm_(model.parameters(), config.trainer.gradient_clip_val)
        optimizer.step()
        scheduler.step()
        clock.look()
    return clock.took()


def _framework(config: DictConfig, model: pl.LightningModule, batches: list[Batch]) -> tuple[float, float]:
    clock = _Clock()
    train_on(batches, config, model, clock)
    return clock.took()


def train_on(
    batches: Sequence[Batch], config: DictConfig, model: pl.LightningModule, clock: Callback, **options: Any
) -> None:
    """One epoch of ``batches`` with everything that training has, but validation and checkpoints.

    clock: a callback after all others; options: further arguments of the Trainer.
    """
    with tempfile.TemporaryDirectory() as directory:
        trainer = build(
            "trainer",
            config.trainer,
            callbacks=[*build_callbacks(config), Speed(), clock],
            **ALONE | {"logger": TensorBoardLogger(Path(directory), default_hp_metric=False)} | options,
        )
        trainer.fit(model, train_dataloaders=ListLoader(batches))
