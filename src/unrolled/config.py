"""Checks of a composed config: every key is known, every value has the type and keeps the rules of its key.

A group of conf/ is one call: its keys are the arguments of the class or function that `_target_` names, and are held
against that signature. What belongs to no constructor (`tbptt`, `data`, `text`, `checkpoint` and the keys of no group)
has a dataclass here or in data/config.py. Ranges are checked by whoever is constructed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from unrolled.arguments import called_with, leaves, shown, typed_values, unknown_key
from unrolled.data.config import COMMON, DataConfig, TextConfig, data_config
from unrolled.data.files import cache_directory
from unrolled.data.readers.text_file import existing_file
from unrolled.data.sources.build import build_source
from unrolled.data.text_choice import AUTO
from unrolled.errors import UserError

SCHEDULES = ("documents", "stream")
GRADIENTS = ("truncated", "exact")
MEMORIES = ("auto", "retain", "recompute")
LOSSES = ("final", "every", "linear")
AT_LEAST = {"model.hidden_size": 1, "model.num_layers": 1, "model.proj_size": 0, "embedding.embedding_dim": 1}

PROVIDED = {  # arguments that the program gives
    "model": ("input_size",),
    "embedding": ("num_embeddings",),
    "pooling": ("width",),
    "optimizer": ("params",),
    "scheduler": ("optimizer", "total_steps"),
    "logger": ("save_dir",),
    "trainer": ("callbacks", "logger", "plugins", "enable_progress_bar", "default_root_dir"),
}
# Keys of a group that are no arguments of its `_target_`, but of the network: the head's dropout, and its wide path.
ASIDE = {"pooling": ("dropout",), "model": ("wide",)}
NEEDED = {  # what only the user knows
    "data.train": "it names the training documents, a file or a directory, as data.train=my.csv",
    "data.path": "it names a data set of the hub, as stanfordnlp/imdb, or a directory",
}
DECIDED: dict[str, Any] = {  # keys that the recipe decides where they are `auto`, and what stands for that until then
    "tbptt.batch_size": 64,
    "trainer.max_epochs": 1,
    "callbacks.early_stopping.patience": 1,
    "optimizer.lr": 0.001,
    "callbacks.averaging.decay": 0.98,
    "embedding.dropout": 0.0,
    "embedding.word_dropout": 0.0,
    "pooling.dropout": 0.0,
}


def require(holds: bool, key: str, value: Any, rule: str) -> None:
    """Stop with one message that names the key, the value and the rule, unless it holds."""
    if not holds:
        raise UserError(f"{key}={shown(value)}: {rule}")


def one_of(key: str, value: Any, choices: Sequence[str]) -> None:
    """Stop unless ``value`` is one of ``choices``."""
    require(value in choices, key, value, f"choose one of {', '.join(choices)}")


def share(key: str, value: Any) -> None:
    """Stop unless ``value`` is a share of elements that are zeroed."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    require(number and 0 <= value < 1, key, value, "a share, from 0 to below 1")


@dataclass
class TBPTTConfig:
    """How documents are read in chunks in training (`tbptt.*`); conf/config.yaml says what each key means."""

    schedule: str = "documents"
    chunk_len: int | None = 100
    batch_size: int = 64
    gradient: str = "truncated"
    memory: str = "auto"
    memory_mib: float | None = None
    carry: bool = True
    loss: str = "final"
    k1: int | None = None
    k2: int | None = None
    eval_batch_size: int = 128

    def __post_init__(self) -> None:
        for name, choices in {"schedule": SCHEDULES, "gradient": GRADIENTS, "memory": MEMORIES, "loss": LOSSES}.items():
            one_of(f"tbptt.{name}", getattr(self, name), choices)
        for name in ("chunk_len", "k1", "k2"):
            value = getattr(self, name)
            self._require(value is None or value > 0, name, "at least 1 time step, or null")
        for name in ("batch_size", "eval_batch_size"):
            self._require(getattr(self, name) > 0, name, "must be at least 1")
        self._require(self.memory_mib is None or self.memory_mib > 0, "memory_mib", "more than 0, or null")
        rule = f"tbptt.memory={self.memory} has no budget; choose tbptt.memory=auto"
        self._require(self.memory_mib is None or self.memory == "auto", "memory_mib", rule)
        if self.schedule == "stream":
            self._check_stream()
        else:
            self._check_documents()

    def _require(self, holds: bool, name: str, rule: str) -> None:
        require(holds, f"tbptt.{name}", getattr(self, name), rule)

    def _check_stream(self) -> None:
        if self.k2 is None:
            self._require(self.chunk_len is not None, "chunk_len", "a stream needs a chunk length, such as 64")
            self.k2 = self.chunk_len
        rule = f"in a stream it is the chunk length, which is {self.chunk_len}; set tbptt.chunk_len={self.k2}, too"
        self._require(self.chunk_len in (None, self.k2), "k2", rule)
        self.chunk_len = self.k2
        if self.k1 is None:
            self.k1 = self.k2
        assert self.k1 is not None
        assert self.k2 is not None
        rule = f"with tbptt.k2={self.k2} the tokens in between would never be learned from; it must not exceed k2"
        self._require(self.k1 <= self.k2, "k1", rule)
        rule = (
            f"reading again from k2={self.k2} tokens back needs the state there; set tbptt.carry=true, or k1={self.k2}"
        )
        self._require(self.carry or self.k1 == self.k2, "k1", rule)
        rule = "a stream steps after every chunk, so its gradient is truncated; choose tbptt.schedule=documents"
        self._require(self.gradient == "truncated", "gradient", rule)
        rule = "a stream holds the activations of one chunk only; choose tbptt.memory=auto"
        self._require(self.memory != "recompute", "memory", rule)

    def _check_documents(self) -> None:
        for name in ("k1", "k2"):
            rule = "whole documents have one step each; choose tbptt.schedule=stream, or set tbptt.chunk_len"
            self._require(getattr(self, name) is None, name, rule)
        rule = "whole documents have one loss each; choose tbptt.schedule=stream"
        self._require(self.loss == "final", "loss", rule)
        if self.chunk_len is None:
            rule = "with tbptt.chunk_len=null a document is one chunk: nothing to hand on; set tbptt.chunk_len"
            self._require(self.carry, "carry", rule)
            rule = "with tbptt.chunk_len=null a document is one chunk, of which all is needed; set tbptt.chunk_len"
            self._require(self.memory != "recompute", "memory", rule)
        if self.gradient == "exact":
            self._require(
                self.carry, "carry", "without a carried state no gradient can cross; use tbptt.gradient=truncated"
            )


@dataclass
class CheckpointConfig:
    """When a run saves points to resume from (`checkpoint.*`), besides those before each validation."""

    every_n_steps: int | None = None  # optimizer steps
    every_minutes: float | None = 5.0
    keep: int = 2  # the newest stay

    def __post_init__(self) -> None:
        for name in ("every_n_steps", "every_minutes"):
            value = getattr(self, name)
            require(value is None or value > 0, f"checkpoint.{name}", value, "more than 0, or null for never")
        require(self.keep > 1, "checkpoint.keep", self.keep, "at least 2: the newest may turn out to be damaged")


@dataclass
class Config:
    """The whole config. Groups that are arguments of a constructor stay as Hydra composed them."""

    data: DataConfig
    text: TextConfig
    tbptt: TBPTTConfig
    checkpoint: CheckpointConfig
    embedding: DictConfig
    model: DictConfig
    pooling: DictConfig
    optimizer: DictConfig
    trainer: DictConfig
    name: str
    output_dir: str
    recipe: DictConfig | None = None  # null once it has decided
    scheduler: DictConfig | None = None
    logger: DictConfig | None = None
    callbacks: DictConfig | None = None
    seed: int = 0
    threads: int | None = None
    class_weights: str = "equal"
    label_smoothing: float = 0.0
    baseline: str | None = "linear"
    dry_run: bool = False
    resume: str | None = None
    choices: Any = None  # written by the run: which data, text and model were chosen by name

    def __post_init__(self) -> None:
        require(self.threads is None or self.threads > 0, "threads", self.threads, "at least 1, or null")
        require(self.baseline in ("linear", None), "baseline", self.baseline, "linear, or null for none")
        one_of("class_weights", self.class_weights, ("equal", "balanced"))
        share("label_smoothing", self.label_smoothing)
        require(self.seed >= 0, "seed", self.seed, "must be 0 or more")
        if self.tbptt.schedule == "stream" and self.model.get("bidirectional", False):
            rule = "the backward direction knows its own window only and cannot be read again; set tbptt.k1 to k2"
            require(self.tbptt.k1 == self.tbptt.k2, "tbptt.k1", self.tbptt.k1, f"with model.bidirectional=true {rule}")


TYPED = {"tbptt": TBPTTConfig, "checkpoint": CheckpointConfig, "text": TextConfig}
OPTIONAL = ("scheduler", "logger", "recipe")
NETWORK = ("embedding", "model", "pooling")
TRAINING = ("optimizer", "scheduler", "trainer", "logger", "recipe")
GROUPS = (*NETWORK, *TRAINING)


def check_early(config: DictConfig) -> None:
    """What `checked` checks without torch and Lightning, whose import takes seconds, and whether the files are there.

    Raises UserError as `checked` does, for files of data and vectors that cannot be read, and for no usable cache.
    """
    keys = _composed(config)
    objects = _without_torch(keys)[1]
    _check_device(keys.get("trainer"))
    build_source(objects["data"].source)
    cache_directory(objects["data"].cache_dir)
    if objects["text"].vectors is not None:
        existing_file(objects["text"].vectors, "text.vectors")


def _check_device(trainer: Any) -> None:
    """Refuse a GPU that is not there. Only where one is asked for is torch imported, and Lightning not at all."""
    accelerator = trainer.get("accelerator") if isinstance(trainer, Mapping) else None
    if accelerator in ("gpu", "cuda"):
        import torch

        rule = "there is no GPU here that torch can use; trainer=auto takes the device that there is"
        there = torch.cuda.is_available() or torch.backends.mps.is_available()
        require(there, "trainer.accelerator", accelerator, rule)


def checked(config: DictConfig, to_train: bool = True) -> Config:
    """The composed config as objects, every key, type and rule checked.

    to_train: check the groups that only training needs, too, whose classes take seconds to import.

    A whole number where a fraction belongs becomes one in ``config`` itself, so that equal settings are equal. A key
    that is still `auto` stays so there and has its value of `DECIDED` in the objects.

    Raises:
        UserError: a key is not known or not set, a value has the wrong type or breaks a rule, an interpolation leads
            nowhere, or a key is `auto` and there is no recipe to decide it
    """
    keys = _composed(config)
    typed, objects = _without_torch(keys)
    for group in GROUPS if to_train else NETWORK:
        typed[group] = _call_values(group, keys.get(group))
        if typed[group] is None and group not in OPTIONAL:
            raise UserError(f"{group}=null: a run needs one; choose one of the files in conf/{group}/")
    if to_train and keys.get("callbacks") is not None:
        callbacks = _mapping("callbacks", keys["callbacks"])
        typed["callbacks"] = {name: _call_values("callbacks", given, name) for name, given in callbacks.items()}
    _write(config, typed)
    return Config(**{group: config.get(group) for group in (*GROUPS, "callbacks", "choices")}, **objects)


def _composed(config: DictConfig) -> dict[str, Any]:
    """The keys of ``config``, all known and set."""
    if config.get("recipe") is None and (waiting := undecided(config)):
        others = f" (and {', '.join(waiting[1:])})" if waiting[1:] else ""
        raise UserError(
            f"{waiting[0]}={AUTO}: recipe=null decides nothing; give a value{others}, or choose recipe=auto"
        )
    try:
        composed = OmegaConf.to_container(stood_in(config), resolve=True)
    except OmegaConfBaseException as error:
        raise UserError(str(error).splitlines()[0]) from error
    assert isinstance(composed, dict)
    keys: dict[str, Any] = {str(key): value for key, value in composed.items() if key != "hydra"}
    for key, value in leaves(keys):
        if value == "???":
            raise UserError(f"{key} is not set: {NEEDED.get(key, f'add {key}=... to the command')}")
    known = [each.name for each in fields(Config)]
    for key in keys:
        if key not in known:
            raise unknown_key(key, known)
    return keys


def _without_torch(keys: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Of ``keys`` what belongs to no class of torch or Lightning: with its types, and as arguments of `Config`."""
    sections = [*GROUPS, "data", *TYPED]
    scalars = {key: value for key, value in keys.items() if key not in (*sections, "callbacks", "choices")}
    typed: dict[str, Any] = typed_values("", Config, scalars)
    objects = dict(typed)
    for key, section in TYPED.items():
        typed[key] = typed_values(key, section, _mapping(key, keys.get(key)))
        objects[key] = section(**typed[key])
    typed["data"] = _data_values(_mapping("data", keys.get("data")))
    objects["data"] = data_config(**typed["data"])
    _check_numbers(keys)
    return typed, objects


def _check_numbers(keys: Mapping[str, Any]) -> None:
    """Rules of single numbers in the groups; whether they are numbers at all is checked by their classes."""

    def number(key: str) -> Any:
        group, _, name = key.partition(".")
        value = keys[group].get(name) if isinstance(keys.get(group), Mapping) else None
        return value if isinstance(value, (int, float)) else None

    for key, least in AT_LEAST.items():
        value = number(key)
        require(value is None or value >= least, key, value, f"must be at least {least}")
    rate, epochs = number("optimizer.lr"), number("trainer.max_epochs")
    require(rate is None or rate > 0, "optimizer.lr", rate, "the learning rate must be more than 0")
    rule = "at least 1, or -1 to train until trainer.max_steps or trainer.max_time"
    require(epochs is None or epochs == -1 or epochs >= 1, "trainer.max_epochs", epochs, rule)


def undecided(config: DictConfig) -> list[str]:
    """The keys of ``config`` that its recipe has to decide."""
    return [key for key in DECIDED if OmegaConf.select(config, key, default=None) == AUTO]


def stood_in(config: DictConfig) -> DictConfig:
    """A copy of ``config`` with a value in place of each `auto`, with which one can try whether the rest is sound."""
    copy = config.copy()
    for key in undecided(config):
        OmegaConf.update(copy, key, DECIDED[key])
    return copy


def _call_values(group: str, given: Any, name: str = "") -> dict[str, Any] | None:
    """The arguments of the call that ``given`` describes, checked; None stays None."""
    if given is None:
        return None
    key = f"{group}.{name}" if name else group
    values = _mapping(key, given)
    aside = {each: values.pop(each) for each in ASIDE.get(key, ()) if each in values}
    if "wide" in aside:
        require(isinstance(aside["wide"], bool), f"{key}.wide", aside["wide"], "true or false")
    if "dropout" in aside:
        share(f"{key}.dropout", aside["dropout"])
        aside["dropout"] = float(aside["dropout"])
    return called_with(key, values, PROVIDED.get(group, ())) | aside


def _data_values(values: dict[str, Any]) -> dict[str, Any]:
    common = typed_values("data", DataConfig, {key: value for key, value in values.items() if key in COMMON})
    own = {key: value for key, value in values.items() if key not in COMMON}
    return {**common, **called_with("data", own, beside=COMMON)}


def _mapping(key: str, given: Any) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        if key.startswith("callbacks."):
            rule = f"must be null, or keys of a callback: set {key}._target_ and its arguments"
            raise UserError(f"{key}={shown(given)}: {rule}")
        raise UserError(f"{key}={shown(given)}: it is a group of keys; choose one of the files in conf/{key}/")
    return {str(name): value for name, value in given.items()}


def _write(config: DictConfig, typed: Mapping[str, Any]) -> None:
    """Put values whose type has changed into ``config``."""
    for key, value in typed.items():
        if isinstance(value, Mapping):
            if value and OmegaConf.is_dict(config.get(key)):
                _write(config[key], value)
        elif not isinstance(value, list) and type(config[key]) is not type(value) and config[key] != AUTO:
            config[key] = value
