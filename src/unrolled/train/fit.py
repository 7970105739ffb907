"""Training and test of one run."""

import json
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.callbacks import Callback, ProgressBar
from rich.console import Console

from unrolled.config import Config
from unrolled.console import say
from unrolled.data.prepare import PreparedData
from unrolled.errors import UserError
from unrolled.files import write_atomically
from unrolled.tbptt.datamodule import DocumentsDataModule
from unrolled.train.baseline import record_linear
from unrolled.train.build import build, is_linear, plain
from unrolled.train.callbacks.build import build_callbacks
from unrolled.train.callbacks.checkpoints import BestCheckpoint, LastCheckpoint, checkpoint_to_test
from unrolled.train.callbacks.description import ConfigText, count_parameters
from unrolled.train.callbacks.history import History
from unrolled.train.callbacks.hparams import HParams
from unrolled.train.callbacks.resume_points import ResumePoints
from unrolled.train.callbacks.speed import Speed
from unrolled.train.chance import chance_warning
from unrolled.train.checkpoint_io import AtomicCheckpointIO, load_intact
from unrolled.train.classifier import Classifier
from unrolled.train.devices import global_rank, launch_processes
from unrolled.train.environment import describe_environment
from unrolled.train.predictions import save_predictions
from unrolled.train.preparation import build_and_show, prepare_and_decide, with_baseline
from unrolled.train.results import LINEAR_FILE, NETWORK_ALONE, TOKENIZER_FILE, VOCABULARY_FILE, RunResult
from unrolled.train.resume_files import checkpoint_to_resume

HPARAMS = (
    "model.implementation",
    "model.hidden_size",
    "model.proj_size",
    "model.num_layers",
    "model.bidirectional",
    "embedding.embedding_dim",
    "pooling._target_",
    "tbptt.schedule",
    "tbptt.chunk_len",
    "tbptt.batch_size",
    "optimizer.lr",
    "trainer.max_epochs",
    "seed",
)


def fit_and_test(config: Config, result: RunResult, before: RunResult | None, console: Console) -> str | None:
    """Train, test the best weights and fill in ``result``; returns a warning where the model has learned nothing."""
    directory = result.directory
    first = global_rank() == 0
    prepared, config = prepare_and_decide(config, console)
    prepared, baseline = with_baseline(config, prepared, console)
    result.configure(plain(config.composed))
    result.data_summary, result.class_names = prepared.summary, prepared.labels
    if first:
        result.write()  # what the recipe has decided holds for a run that is killed and resumed, too
        prepared.vocabulary.save(directory / VOCABULARY_FILE)
        write_atomically(directory / TOKENIZER_FILE, json.dumps(prepared.tokenizer.state()) + "\n")
        if baseline is not None and (is_linear(config) or config.model.get("wide", False)):
            baseline.model.save(directory / LINEAR_FILE)
    if is_linear(config) and baseline is not None:
        if first:
            record_linear(result, prepared, baseline)
            if (logger := build("logger", config.logger, save_dir=directory)) is not None:
                logger.log_metrics(result.metrics, step=0)
                logger.finalize("success")
        return None
    model = build_and_show(config, prepared, baseline, console)
    if config.baseline is not None and baseline is not None:
        result.baseline = baseline.record()
    result.parameters, result.directions = count_parameters(model), model.directions
    return _fit_network(model, config, prepared, result, before, console)


def _fit_network(
    model: Classifier,
    config: Config,
    prepared: PreparedData,
    result: RunResult,
    before: RunResult | None,
    console: Console,
) -> str | None:
    """Train ``model``, test its best weights and fill in ``result``; returns what `fit_and_test` does."""
    directory, settings, first = result.directory, result.config, global_rank() == 0
    history, speed = History(), Speed()
    if not first:  # the weights are the same everywhere, dropout is not
        torch.manual_seed(config.seed + 1_000_003 * global_rank())
    checkpoints, each = directory / "checkpoints", config.checkpoint
    callbacks: list[Callback] = [
        ResumePoints(checkpoints, each.every_n_steps, each.every_minutes, each.keep),
        *build_callbacks(config),
        speed,
        history,
        BestCheckpoint(checkpoints),
        LastCheckpoint(checkpoints),
        ConfigText(settings),
        HParams(settings, {"data": "choices.data", "model": "choices.model"} | {key: key for key in HPARAMS}),
    ]
    options: dict[str, Any] = {
        "callbacks": callbacks,
        "logger": build("logger", config.logger, save_dir=directory) or False,
        "plugins": [AtomicCheckpointIO()],
    }
    options["enable_progress_bar"] = any(isinstance(callback, ProgressBar) for callback in callbacks)  # no other
    trainer = build("trainer", config.trainer, **options)
    if (rows := config.tbptt.batch_size) < (count := trainer.world_size):
        raise UserError(
            f"tbptt.batch_size={rows}: these are the rows of all {count} devices together; each needs at least one"
        )
    environment = describe_environment(trainer.strategy.root_device, str(trainer.precision))
    result.environment = {**environment, "processes": trainer.world_size}
    data = DocumentsDataModule(prepared, config.tbptt, config.seed)
    point = None
    if before is not None:
        point = checkpoint_to_resume(directory, console, repair=first)
    try:
        with launch_processes(trainer):
            trainer.fit(model, datamodule=data, ckpt_path=point, weights_only=True)
            path, result.tested_weights = checkpoint_to_test(trainer)
            if path is not None:  # the weights alone: `ckpt_path` would take history and speed back to that point, too
                model.load_state_dict(load_intact(Path(path))["state_dict"])
            elif first:
                say(console, "no validation was made before training ended, so the weights at its end are tested")
            trainer.test(model, datamodule=data, verbose=False)
        if first:
            predictions = save_predictions(directory, model.test_predictions, prepared.labels)
            result.predictions = result.relative(predictions)
    finally:
        result.metrics, result.history = history.metrics(), history.rows
        result.speed = speed.result() | {"recomputed_steps": float(model.recomputed_steps)}
        result.environment["engines"] = model.network.encoder.engines_run()
        best, last = checkpoints / "best.ckpt", checkpoints / "last.ckpt"
        result.best_checkpoint = result.relative(best) if best.is_file() else None
        result.last_checkpoint = result.relative(last) if last.is_file() else None
    test, alone = model.test_predictions, result.metrics.get(NETWORK_ALONE)
    return chance_warning(
        test["labels"], test["predicted"], prepared.valid.labels, history.rows, prepared.labels, alone
    )
