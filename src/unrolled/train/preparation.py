"""Preparation of a run: its kind of tokens, its data, the recipe's values, the linear model, the network."""

import logging

import pytorch_lightning as pl
import torch
from hydra.core.hydra_config import HydraConfig
from rich.console import Console

from unrolled.config import Config, checked
from unrolled.console import say
from unrolled.data.prepare import PreparedData, prepare
from unrolled.data.sources.build import build_source
from unrolled.data.text_choice import AUTO, WORDS, choose_text
from unrolled.errors import RefusedDataError, UserError
from unrolled.files import cache_directory
from unrolled.linear import LinearOptions, affordable
from unrolled.train.baseline import Baseline, fit_baseline
from unrolled.train.build import build, build_classifier, is_linear
from unrolled.train.callbacks.description import count_parameters
from unrolled.train.classifier import Classifier
from unrolled.train.devices import global_rank
from unrolled.train.recipe import Statistics, decide, described
from unrolled.train.table import print_data
from unrolled.waiting import watch_processors

log = logging.getLogger(__name__)

_warned: set[str] = set()  # of data, in this process: the jobs of a sweep say each warning once


def choose_text_kind(config: Config, console: Console) -> None:
    """Put what `text=auto` means for these texts in its place, as if it had been typed, and say so."""
    if config.text.kind != AUTO:
        return
    try:
        source = build_source(config.data.source)
        source.fetch(cache_directory(config.data.cache_dir))
        kind, said = choose_text(source)
    except UserError:  # preparing the data meets it again, where it is recorded
        kind, said = WORDS, ""
    config.composed.text.kind = config.text.kind = kind
    if said:
        say(console, said)


def prepare_and_decide(config: Config, console: Console) -> tuple[PreparedData, Config]:
    """Prepare and show the data, and let the recipe put its values into the config, which is checked again."""
    _reset_process(config)
    try:
        prepared = prepare(config.data, config.text, config.seed)
    except UserError as error:
        raise RefusedDataError(str(error)) from error
    for warning in prepared.summary["warnings"]:
        if global_rank() == 0 and warning not in _warned:
            log.warning("%s", warning)
        _warned.add(warning)
    print_data(prepared.summary, console)
    if config.recipe is not None:
        decided = decide(config.composed, Statistics.of(prepared))
        if decided and not is_linear(config):
            name = HydraConfig.get().runtime.choices["recipe"]
            say(console, described(name, decided))
    return prepared, checked(config.composed)


def _reset_process(config: Config) -> None:
    """Set what holds for the whole process anew: jobs of a sweep run in one, and none may inherit from the last."""
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    watch_processors()  # in a process of a sweep, too
    torch.set_float32_matmul_precision("highest")
    pl.seed_everything(config.seed, verbose=False)


def with_baseline(config: Config, prepared: PreparedData, console: Console) -> tuple[PreparedData, Baseline | None]:
    """The data with the linear model's scores, and that model, where the network or the table needs them."""
    alone, wide = is_linear(config), config.model.get("wide", False)
    if config.baseline is None and not wide and not alone:
        return prepared, None
    documents, fitted = len(prepared.train), len(affordable(prepared.train, len(prepared.labels)))
    if fitted < documents:
        say(
            console,
            f"linear model: fitted to {fitted:,} of the {documents:,} training documents, at random, which takes some "
            "minutes; without it: baseline=null model.wide=false",
        )
    options = build("model", config.model) if alone else LinearOptions()
    cache = cache_directory(config.data.cache_dir) / "linear"
    scored, baseline = fit_baseline(prepared, cache, options.C, options.pairs, config.class_weights == "balanced")
    if alone:
        config.model.C, config.model.pairs = baseline.model.C, baseline.model.pairs
    return scored if wide or alone else prepared, baseline


def build_and_show(config: Config, prepared: PreparedData, baseline: Baseline | None, console: Console) -> Classifier:
    model = build_classifier(config, prepared)
    if model.network.mix is not None and baseline is not None:
        model.linear_parameters = baseline.parameters
    parameters = count_parameters(model)
    parts = ", ".join(f"{part} {count:,}" for part, count in parameters.items() if part != "total")
    say(console, f"parameters  {parameters['total']:,} ({parts})")
    return model
