"""One run, from its configuration to its results."""

import json
import logging
import shlex
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, open_dict
from pytorch_lightning.callbacks import Callback, ProgressBar
from rich.console import Console

from unrolled.config import Config, check_early, checked, stood_in
from unrolled.data.files import cache_directory
from unrolled.data.prepare import PreparedData, prepare
from unrolled.data.sources.build import build_source
from unrolled.data.text_choice import AUTO, WORDS, choose_text
from unrolled.errors import RefusedDataError, UserError
from unrolled.linear import affordable
from unrolled.train.baseline import Baseline, fit_baseline, record_linear
from unrolled.train.build import build, build_classifier, build_datamodule, check_buildable, is_linear, plain
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
from unrolled.train.devices import check_launcher, global_rank, launch_processes
from unrolled.train.disk import disk_full_error
from unrolled.train.environment import describe_environment
from unrolled.train.estimate import estimate
from unrolled.train.recipe import Statistics, decide, described
from unrolled.train.results import (
    LINEAR_FILE,
    TOKENIZER_FILE,
    VOCABULARY_FILE,
    RunResult,
    load_result,
    recorded_run,
    save_predictions,
    write_atomically,
)
from unrolled.train.resume import exclusive_access, restore_settings
from unrolled.train.resume_files import (
    checkpoint_to_resume,
    elapsed_seconds,
    keep_weights,
    resume_points,
)
from unrolled.train.signals import interrupt_on_sigterm, interrupting_signal
from unrolled.train.sweep import skip_finished
from unrolled.train.table import baseline_line, print_data, print_runs

log = logging.getLogger(__name__)

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

NOISE = (  # warnings that no user of this program can act on
    r".*isinstance\(treespec, LeafSpec\).*",
    r".*smaller than the logging interval.*",
    r".*LSTM with projections is not supported with oneDNN.*",
    r"Checkpoint directory .* exists and is not empty",
    r"It is recommended to use `self\.log\('train/.*",  # the metrics of an epoch are of all devices already
)


def train(config: DictConfig) -> float | None:
    """Train and test what ``config`` describes; returns the best validation accuracy.

    Raises UserError where the config or the data cannot work; nothing has been trained by then.
    """
    hydra = HydraConfig.get()
    sweeping = hydra.mode == RunMode.MULTIRUN
    before = None if config.resume is None else load_result(config.resume)
    if before is not None:
        restore_settings(config, before)
    elif sweeping:
        check_early(config)  # files that are not there are no run; of a single one `cli` has looked for them already
    valid = checked(config)
    check_launcher(config.trainer.get("devices"))
    _silence_libraries()
    check_buildable(config)
    build_callbacks(stood_in(config))

    _choose_text(config, valid, console := Console(quiet=global_rank() > 0))
    if before is None:
        choices = {group: hydra.runtime.choices.get(group) for group in ("data", "text", "model")}
        if choices["text"] == AUTO:
            choices["text"] = valid.text.kind
        with open_dict(config):
            config.choices = choices  # the names of what was chosen, which the composed config no longer tells
    settings = plain(config)
    directory = Path(hydra.runtime.output_dir) if before is None else before.directory
    root = _root(directory, sweeping)

    finished = before if before is not None and before.status == "ok" else None
    if finished is None and sweeping:
        finished = skip_finished(root, settings, directory)
    if finished is not None:
        console.print(f"already finished, not run again: {_shown(finished.directory)}", highlight=False, soft_wrap=True)
        return finished.metrics.get("val/accuracy")
    if valid.dry_run:
        _dry_run(config, valid, console)
        return None

    known = {name: hydra.runtime.choices[name] for name in ("model", "data")}
    known["implementation"] = settings["model"].get("implementation", "")
    keep_refused = sweeping or before is not None  # a row of the sweep, or a run that had begun
    with _recorded(directory, settings, valid.name, root, before, keep_refused=keep_refused, **known) as result:
        warning = _fit_and_test(config, valid, result, before, console)
    if global_rank() == 0:
        keep_weights(directory / "checkpoints")
    print_runs([result], _shown(root), console)
    console.print(f"this run: {_shown(directory)}", highlight=False, soft_wrap=True)
    if warning is not None:
        console.print(f"warning: {warning}", highlight=False, markup=False, soft_wrap=True)
    return result.metrics.get("val/accuracy")


def _choose_text(config: DictConfig, valid: Config, console: Console) -> None:
    """Put what `text=auto` means for these texts in its place, as if it had been typed, and say so."""
    if valid.text.kind != AUTO:
        return
    try:
        source = build_source(valid.data.source)
        source.fetch(cache_directory(valid.data.cache_dir))
        kind, said = choose_text(source)
    except UserError:  # preparing the data meets it again, where it is recorded
        kind, said = WORDS, ""
    config.text.kind = valid.text.kind = kind
    if said:
        console.print(said, highlight=False, markup=False, soft_wrap=True)


def _root(directory: Path, sweeping: bool) -> Path:
    """The directory of all runs: of runs/<name>/<time> and of runs/sweeps/<time>/<job> it is runs."""
    root = directory.parent.parent
    return root.parent if sweeping or root.name == "sweeps" else root


def _dry_run(config: DictConfig, valid: Config, console: Console) -> None:
    """Show the data, the model and how long its training will take, and train nothing."""
    prepared, valid = _prepare_and_decide(config, valid, console)
    prepared, baseline = _with_baseline(config, valid, prepared, console)
    if baseline is not None and (valid.baseline is not None or is_linear(config)):
        console.print(baseline_line(baseline.record(), "val"), highlight=False, soft_wrap=True)
    if not is_linear(config):
        model = _build_and_show(config, valid, prepared, baseline, console)
        console.print(str(estimate(config, model, build_datamodule(prepared, valid))), highlight=False, soft_wrap=True)
    console.print("dry run: everything fits together; to train, give the command without dry_run=true")


def _fit_and_test(
    config: DictConfig,
    valid: Config,
    result: RunResult,
    before: RunResult | None,
    console: Console,
) -> str | None:
    """Train, test the best weights and fill in ``result``; returns a warning where the model has learned nothing."""
    directory = result.directory
    first = global_rank() == 0
    prepared, valid = _prepare_and_decide(config, valid, console)
    settings = plain(config)
    result.configure(settings)
    prepared, baseline = _with_baseline(config, valid, prepared, console)
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
    model = _build_and_show(config, valid, prepared, baseline, console)
    if valid.baseline is not None and baseline is not None:
        result.baseline = baseline.record()
    result.parameters, result.directions = _count_parameters(model, baseline), model.directions
    history, speed = History(), Speed()
    if not first:  # the weights are the same everywhere, dropout is not
        torch.manual_seed(valid.seed + 1_000_003 * global_rank())
    checkpoints, each = directory / "checkpoints", valid.checkpoint
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
    if (rows := valid.tbptt.batch_size) < (count := trainer.world_size):
        raise UserError(
            f"tbptt.batch_size={rows}: these are the rows of all {count} devices together; each needs at least one"
        )
    environment = describe_environment(trainer.strategy.root_device, str(trainer.precision))
    result.environment = {**environment, "processes": trainer.world_size}
    data = build_datamodule(prepared, valid)
    point = None
    if before is not None:
        point = checkpoint_to_resume(directory, console, repair=first)
    try:
        with launch_processes(trainer):
            trainer.fit(model, datamodule=data, ckpt_path=point, weights_only=True)
            path, result.tested_weights = checkpoint_to_test(trainer)
            if path is not None:  # the weights alone: `ckpt_path` would take history and speed back to that point, too
                model.load_state_dict(load_intact(Path(path))["state_dict"])
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
    test = model.test_predictions
    return chance_warning(test["labels"], test["predicted"], prepared.valid.labels, history.rows, prepared.labels)


@contextmanager
def _recorded(
    directory: Path, settings: dict[str, Any], name: str, root: Path, before: RunResult | None, **known: Any
) -> Iterator[RunResult]:
    """The record that a run's first process keeps; the other processes have one that is not written.

    A run that is interrupted, or finds the disk full, says how it can be resumed.
    """
    if global_rank():
        with interrupt_on_sigterm():
            yield RunResult(name=name, directory=directory)
        return
    with exclusive_access(directory):
        if before is not None:
            before.wall_time_s = elapsed_seconds(before)
        try:
            with recorded_run(directory, settings, name, root=root, before=before, **known) as result:
                yield result
        except BaseException as error:
            if interrupting_signal(error) is not None:
                sys.stderr.write(f"interrupted: {_shown(directory)}\nresume with {_resume_command(directory)}\n")
            if (full := disk_full_error(error, directory)) is not None:
                raise UserError(f"{full}; make room, then resume with {_resume_command(directory)}") from error
            raise


def _resume_command(directory: Path) -> str:
    point = next(iter(resume_points(directory / "checkpoints")), None)
    begin = "the beginning" if point is None else point.name
    return f"python train.py {shlex.quote(f'resume={_shown(directory)}')} (continues from {begin})"


def _prepare_and_decide(config: DictConfig, valid: Config, console: Console) -> tuple[PreparedData, Config]:
    """Prepare and show the data, and let the recipe put its values into ``config``, which is checked again."""
    _reset_process(valid)
    try:
        prepared = prepare(valid.data, valid.text, valid.seed, quiet=global_rank() > 0)
    except UserError as error:
        raise RefusedDataError(str(error)) from error
    print_data(prepared.summary, console)
    if config.recipe is not None:
        decided = decide(config, Statistics.of(prepared))
        if decided and not is_linear(config):
            name = HydraConfig.get().runtime.choices["recipe"]
            console.print(described(name, decided), highlight=False, soft_wrap=True)
    return prepared, checked(config)


def _with_baseline(
    config: DictConfig, valid: Config, prepared: PreparedData, console: Console
) -> tuple[PreparedData, Baseline | None]:
    """The data with the linear model's scores, and that model, where the network or the table needs them."""
    alone, wide = is_linear(config), config.model.get("wide", False)
    if valid.baseline is None and not wide and not alone:
        return prepared, None
    documents, fitted = len(prepared.train), len(affordable(prepared.train, len(prepared.labels)))
    if fitted < documents:
        console.print(
            f"linear model: fitted to {fitted:,} of the {documents:,} training documents, at random, which takes some "
            "minutes; without it: baseline=null model.wide=false",
            highlight=False,
            soft_wrap=True,
        )
    scored, baseline = fit_baseline(prepared, config.model.C if alone else 1.0, valid.class_weights == "balanced")
    return scored if wide or alone else prepared, baseline


def _build_and_show(
    config: DictConfig, valid: Config, prepared: PreparedData, baseline: Baseline | None, console: Console
) -> Classifier:
    """Build the model and show what it is."""
    model = build_classifier(config, valid, prepared)
    parameters = _count_parameters(model, baseline)
    parts = ", ".join(f"{part} {count:,}" for part, count in parameters.items() if part != "total")
    console.print(f"parameters  {parameters['total']:,} ({parts})", highlight=False)
    return model


def _count_parameters(model: Classifier, baseline: Baseline | None) -> dict[str, int]:
    """Of each part and in all, those of the linear model that it is mixed with included."""
    parameters = count_parameters(model)
    if model.network.mix is None or baseline is None:
        return parameters
    return parameters | {"linear": baseline.parameters, "total": parameters["total"] + baseline.parameters}


def _reset_process(config: Config) -> None:
    """Set what holds for the whole process anew: jobs of a sweep run in one, and none may inherit from the last."""
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    torch.set_float32_matmul_precision("highest")
    pl.seed_everything(config.seed, verbose=False)


def _silence_libraries() -> None:
    for name in ("pytorch_lightning", "lightning_fabric", "lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)  # what they announce, the run says itself
    for message in NOISE:
        warnings.filterwarnings("ignore", message)


def _shown(path: Path) -> Path:
    """The path as one would type it in the present directory."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
