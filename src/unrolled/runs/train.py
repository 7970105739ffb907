"""One run: prepare the data, train, test the best weights, record everything."""

import logging
import warnings
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, open_dict
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loggers import TensorBoardLogger
from rich.console import Console

from unrolled.config import Config, checked
from unrolled.data.prepare import prepare
from unrolled.data.summary import summary_table
from unrolled.runs.build import build, build_classifier, build_datamodule, plain
from unrolled.runs.environment import describe_environment
from unrolled.runs.results import RunResult, recorded_run, save_predictions
from unrolled.runs.sweep import skip_finished
from unrolled.runs.table import print_runs
from unrolled.training.callbacks.checkpoints import BestCheckpoint, LastCheckpoint, checkpoint_to_test
from unrolled.training.callbacks.config_text import ConfigText
from unrolled.training.callbacks.history import History
from unrolled.training.callbacks.hparams import HParams
from unrolled.training.callbacks.model_summary import count_parameters
from unrolled.training.callbacks.speed import Speed

log = logging.getLogger(__name__)

HPARAMS = (
    "model.implementation",
    "model.hidden_size",
    "model.proj_size",
    "model.num_layers",
    "model.bidirectional",
    "embedding.embedding_dim",
    "readout.name",
    "tbptt.schedule",
    "tbptt.chunk_len",
    "tbptt.batch_size",
    "optimizer.lr",
    "trainer.max_epochs",
    "seed",
)

NOISE = (  # warnings that no user of this program can act on
    r".*isinstance\(treespec, LeafSpec\).*",
    r".*smaller than the logging interval.*",
    r".*LSTM with projections is not supported with oneDNN.*",
    r"Checkpoint directory .* exists and is not empty",
)


def train(config: DictConfig) -> float | None:
    """Train and test what ``config`` describes; returns the best validation accuracy.

    Raises UserError where the config or the data cannot work; nothing has been trained by then.
    """
    valid = checked(config)
    choices = HydraConfig.get().runtime.choices
    directory = Path(HydraConfig.get().runtime.output_dir)
    with open_dict(config):
        config.choices = {group: choices.get(group) for group in ("data", "text", "model")}  # what the groups were
    settings = plain(config)
    known = {
        "model": choices["model"],
        "implementation": settings["model"].get("implementation", ""),
        "data": choices["data"],
    }
    console = Console()
    sweeping = HydraConfig.get().mode == RunMode.MULTIRUN
    root = directory.parents[2] if sweeping else directory.parents[1]  # runs/sweeps/<time>/<job>, runs/<name>/<time>
    if sweeping and (done := skip_finished(root, settings, directory)) is not None:
        console.print(f"finished before, not done again: {_shown(done.directory)}", highlight=False, soft_wrap=True)
        return done.metrics.get("val/accuracy")
    with recorded_run(directory, settings, valid.name, root=root, **known) as result:
        _fit_and_test(config, valid, directory, result, settings, console)
    print_runs([result], _shown(root), console)
    console.print(f"this run: {_shown(directory)}", highlight=False, soft_wrap=True)
    best = result.metrics.get("val/accuracy")
    return None if best is None else float(best)


def _fit_and_test(
    config: DictConfig, valid: Config, directory: Path, result: RunResult, settings: dict[str, Any], console: Console
) -> None:
    _reset(valid)
    prepared = prepare(valid.data, valid.text, valid.seed)
    result.data_summary, result.class_names = prepared.summary, prepared.labels
    prepared.vocabulary.save(directory / "vocabulary.txt")
    console.print(summary_table(prepared.summary))

    model = build_classifier(config, valid, prepared)
    result.parameters = count_parameters(model)
    parts = ", ".join(f"{part} {count:,}" for part, count in result.parameters.items() if part != "total")
    console.print(f"parameters  {result.parameters['total']:,} ({parts})", highlight=False)
    history, speed = History(), Speed()
    callbacks: list[Callback] = [
        *(build(f"callbacks.{name}", given) for name, given in (config.callbacks or {}).items() if given is not None),
        speed,
        history,
        BestCheckpoint(directory / "checkpoints"),
        LastCheckpoint(directory / "checkpoints"),
        ConfigText(settings),
        HParams({**settings, **settings["choices"]}, ("data", "model", *HPARAMS)),
    ]
    trainer = build("trainer", config.trainer, callbacks=callbacks, logger=_logger(directory))
    result.environment = describe_environment(trainer.strategy.root_device, str(trainer.precision))
    data = build_datamodule(prepared, valid)
    try:
        trainer.fit(model, datamodule=data)
        path, result.tested_weights = checkpoint_to_test(trainer)
        trainer.test(model, datamodule=data, ckpt_path=path, weights_only=True, verbose=False)
        predictions = save_predictions(directory, model.test_predictions, prepared.labels)
        result.predictions = result.relative(predictions)
    finally:
        result.metrics, result.history = history.metrics(), history.rows
        result.speed = speed.result()
        result.best_checkpoint = result.relative(_existing(directory / "checkpoints" / "best.ckpt"))
        result.last_checkpoint = result.relative(_existing(directory / "checkpoints" / "last.ckpt"))


def _reset(config: Config) -> None:
    """What one job of a sweep sets must not reach the next."""
    for name in ("pytorch_lightning", "lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)  # what they announce, the run says itself
    for message in NOISE:
        warnings.filterwarnings("ignore", message)
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    torch.set_float32_matmul_precision("highest")
    pl.seed_everything(config.seed, verbose=False)


def _logger(directory: Path) -> TensorBoardLogger:
    """Event files in the run's own directory, so that TensorBoard shows the run under that directory's name."""
    return TensorBoardLogger(directory.parent, name="", version=directory.name, default_hp_metric=False)


def _existing(path: Path) -> Path | None:
    return path if path.is_file() else None


def _shown(path: Path) -> Path:
    """As one would type it from here."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
