"""One run, from its configuration to its results."""

import logging
import warnings
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, open_dict
from rich.console import Console

from unrolled.config import Config, check_early, checked, stood_in
from unrolled.console import say
from unrolled.data.text_choice import AUTO
from unrolled.tbptt.datamodule import DocumentsDataModule
from unrolled.train.build import check_buildable, is_linear, plain
from unrolled.train.callbacks.build import build_callbacks
from unrolled.train.devices import check_launcher, global_rank
from unrolled.train.estimate import estimate
from unrolled.train.fit import fit_and_test
from unrolled.train.preparation import build_and_show, choose_text_kind, prepare_and_decide, with_baseline
from unrolled.train.record import recorded, shown
from unrolled.train.results import load_result
from unrolled.train.resume import restore_settings
from unrolled.train.resume_files import keep_weights
from unrolled.train.sweep import skip_finished
from unrolled.train.table import baseline_line, print_run

NOISE = (  # warnings that no user of this program can act on
    r".*isinstance\(treespec, LeafSpec\).*",
    r".*smaller than the logging interval.*",
    r".*LSTM with projections is not supported with oneDNN.*",
    r"Checkpoint directory .* exists and is not empty",
    r"`ModelCheckpoint\(monitor=.*could not find the monitored key.*",  # before the first validation: the run says it
    r"The ``compute`` method of metric .* was called before the ``update`` method.*",  # in an epoch without documents
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
        check_early(config)  # missing files are no run; for a single run `cli/train.py` has looked already
    valid = checked(config)
    check_launcher(config.trainer.get("devices"))
    _silence_libraries()
    check_buildable(config)
    build_callbacks(stood_in(config))

    choose_text_kind(valid, console := Console(quiet=global_rank() > 0))
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
        say(console, f"already finished, not run again: {shown(finished.directory)}")
        return finished.metrics.get("val/accuracy")
    if valid.dry_run:
        _dry_run(valid, console)
        return None

    known = {name: hydra.runtime.choices[name] for name in ("model", "data")}
    known["implementation"] = settings["model"].get("implementation", "")
    keep_refused = sweeping or before is not None  # a row of the sweep, or a run that had begun
    with recorded(directory, settings, valid.name, root, before, keep_refused=keep_refused, **known) as result:
        warning = fit_and_test(valid, result, before, console)
    if global_rank() == 0:
        keep_weights(directory / "checkpoints")
    print_run(result, shown(root), console)
    say(console, f"this run: {shown(directory)}")
    if warning is not None:
        say(console, f"warning: {warning}")
    return result.metrics.get("val/accuracy")


def _root(directory: Path, sweeping: bool) -> Path:
    """The directory of all runs: of runs/<name>/<time> and of runs/sweeps/<time>/<job> it is runs."""
    root = directory.parent.parent
    return root.parent if sweeping or root.name == "sweeps" else root


def _dry_run(config: Config, console: Console) -> None:
    """Show the data, the model and how long its training will take, and train nothing."""
    prepared, config = prepare_and_decide(config, console)
    prepared, baseline = with_baseline(config, prepared, console)
    if baseline is not None and (config.baseline is not None or is_linear(config)):
        say(console, baseline_line(baseline.record(), "val"))
    if not is_linear(config):
        model = build_and_show(config, prepared, baseline, console)
        say(console, str(estimate(config, model, DocumentsDataModule(prepared, config.tbptt, config.seed))))
    say(console, "dry run: everything fits together; to train, give the command without dry_run=true")


def _silence_libraries() -> None:
    for name in ("pytorch_lightning", "lightning_fabric", "lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)  # what they announce, the run says itself
    for message in NOISE:
        warnings.filterwarnings("ignore", message)
