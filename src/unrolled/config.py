"""Checks of a composed config: every key is known, every value has the type and keeps the rules of its key.

A group of conf/ is one call: its keys are the arguments of the class or function that `_target_` names, and are held
against that signature. What belongs to no constructor (`tbptt`, `data`, `text`, `checkpoint` and the keys of no group)
has a dataclass here or in data/config.py. Ranges are checked by whoever is constructed.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from difflib import get_close_matches
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from unrolled.data.config import COMMON, DataConfig, TextConfig, data_config
from unrolled.errors import UserError

SCHEDULES = ("documents", "stream")
GRADIENTS = ("truncated", "exact")
MEMORIES = ("retain", "recompute")

PROVIDED = {  # arguments that the program gives
    "model": ("input_size",),
    "embedding": ("num_embeddings",),
    "pooling": ("width",),
    "optimizer": ("params",),
    "scheduler": ("optimizer", "total_steps"),
    "logger": ("save_dir",),
    "trainer": ("callbacks", "logger", "plugins", "enable_progress_bar", "default_root_dir"),
}
ASIDE = {"pooling": ("dropout",)}  # keys of a group that are no arguments of its `_target_`: the head's dropout
NEEDED = {  # what only the user knows
    "data.train": "it names the training documents, a file or a directory, as data.train=my.csv",
    "data.path": "it names a data set of the hub, as stanfordnlp/imdb, or a directory",
}
SYNONYMS = {  # what people type first -> the key that exists
    "batch": "tbptt.batch_size",
    "bs": "tbptt.batch_size",
    "chunk": "tbptt.chunk_len",
    "chunk_length": "tbptt.chunk_len",
    "clip": "trainer.gradient_clip_val",
    "dataset": "data",
    "device": "trainer.accelerator",
    "early_stopping": "callbacks.early_stopping",
    "encoder": "model",
    "epochs": "trainer.max_epochs",
    "gpus": "trainer.devices",
    "layers": "model.num_layers",
    "learning_rate": "optimizer.lr",
    "readout": "pooling",
    "steps": "trainer.max_steps",
    "tokenizer": "text",
}


def require(holds: bool, key: str, value: Any, rule: str) -> None:
    """Stop with one message that names the key, the value and the rule, unless it holds."""
    if not holds:
        raise UserError(f"{key}={shown(value)}: {rule}")


def shown(value: Any) -> str:
    """``value`` as one types it on the command line."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)


def one_of(key: str, value: Any, choices: Sequence[str]) -> None:
    """Stop unless ``value`` is one of ``choices``."""
    require(value in choices, key, value, f"choose one of {', '.join(choices)}")


def share(key: str, value: Any) -> None:
    """Stop unless ``value`` is a share of elements that are zeroed."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    require(number and 0 <= value < 1, key, value, "a share, from 0 to below 1")


@dataclass
class TBPTTConfig:
    """How documents are cut in time and meet training (`tbptt.*`); conf/config.yaml says what each key means."""

    schedule: str = "documents"
    chunk_len: int | None = 100
    batch_size: int = 64
    gradient: str = "truncated"
    memory: str = "retain"
    carry: bool = True
    loss: str = "final"
    k1: int | None = None
    k2: int | None = None
    eval_batch_size: int = 128

    def __post_init__(self) -> None:
        from unrolled.tbptt.losses import CHUNK_LOSSES  # not at the top: it imports torch

        one_of("tbptt.schedule", self.schedule, SCHEDULES)
        one_of("tbptt.gradient", self.gradient, GRADIENTS)
        one_of("tbptt.memory", self.memory, MEMORIES)
        one_of("tbptt.loss", self.loss, CHUNK_LOSSES)
        for name in ("chunk_len", "k1", "k2"):
            value = getattr(self, name)
            require(value is None or value > 0, f"tbptt.{name}", value, "at least 1 time step, or null")
        require(self.batch_size > 0, "tbptt.batch_size", self.batch_size, "must be at least 1")
        require(self.eval_batch_size > 0, "tbptt.eval_batch_size", self.eval_batch_size, "must be at least 1")
        if self.schedule == "stream":
            self._check_stream()
        else:
            self._check_documents()

    def _check_stream(self) -> None:
        if self.k2 is None:
            require(self.chunk_len is not None, "tbptt.chunk_len", None, "a stream needs a chunk length, such as 64")
            self.k2 = self.chunk_len
        require(
            self.chunk_len in (None, self.k2),
            "tbptt.k2",
            self.k2,
            f"in a stream it is the chunk length, which is {self.chunk_len}; set tbptt.chunk_len={self.k2}, too",
        )
        self.chunk_len = self.k2
        if self.k1 is None:
            self.k1 = self.k2
        assert self.k1 is not None
        assert self.k2 is not None
        require(
            self.k1 <= self.k2,
            "tbptt.k1",
            self.k1,
            f"with tbptt.k2={self.k2} the tokens in between would never be learned from; it must not exceed k2",
        )
        require(
            self.carry or self.k1 == self.k2,
            "tbptt.k1",
            self.k1,
            f"reading again from k2={self.k2} tokens back needs the state there; set tbptt.carry=true, or k1={self.k2}",
        )
        require(
            self.gradient == "truncated",
            "tbptt.gradient",
            self.gradient,
            "a stream steps after every chunk, so its gradient is truncated; choose tbptt.schedule=documents",
        )
        require(
            self.memory == "retain",
            "tbptt.memory",
            self.memory,
            "a stream holds the activations of one chunk already; choose tbptt.memory=retain",
        )

    def _check_documents(self) -> None:
        for name in ("k1", "k2"):
            value = getattr(self, name)
            rule = "whole documents have one step each; choose tbptt.schedule=stream, or set tbptt.chunk_len"
            require(value is None, f"tbptt.{name}", value, rule)
        rule = "whole documents have one loss each; choose tbptt.schedule=stream"
        require(self.loss == "final", "tbptt.loss", self.loss, rule)
        if self.chunk_len is None:
            rule = "with tbptt.chunk_len=null a document is one chunk: nothing to hand on; set tbptt.chunk_len"
            require(self.carry, "tbptt.carry", "false", rule)
            rule = "with tbptt.chunk_len=null a document is one chunk, of which all is needed; set tbptt.chunk_len"
            require(self.memory == "retain", "tbptt.memory", self.memory, rule)
        if self.gradient == "exact":
            rule = "without a carry no gradient can cross; use tbptt.gradient=truncated"
            require(self.carry, "tbptt.carry", "false", rule)


@dataclass
class CheckpointConfig:
    """When a run saves a point from which it can go on (`checkpoint.*`), besides before each validation."""

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
    scheduler: DictConfig | None = None
    logger: DictConfig | None = None
    callbacks: DictConfig | None = None
    seed: int = 0
    threads: int | None = None
    class_weights: str = "equal"
    label_smoothing: float = 0.0
    dry_run: bool = False
    resume: str | None = None
    choices: Any = None  # written by the run: which data, text and model were chosen by name

    def __post_init__(self) -> None:
        require(self.threads is None or self.threads > 0, "threads", self.threads, "at least 1, or null")
        one_of("class_weights", self.class_weights, ("equal", "balanced"))
        share("label_smoothing", self.label_smoothing)
        require(self.seed >= 0, "seed", self.seed, "must be 0 or more")
        if self.tbptt.schedule == "stream" and self.model.get("bidirectional", False):
            rule = "the backward direction knows its own window only and cannot be read again; set tbptt.k1 to k2"
            require(self.tbptt.k1 == self.tbptt.k2, "tbptt.k1", self.tbptt.k1, f"with model.bidirectional=true {rule}")


TYPED = {"tbptt": TBPTTConfig, "checkpoint": CheckpointConfig, "text": TextConfig}
OPTIONAL = ("scheduler", "logger")
GROUPS = ("embedding", "model", "pooling", "optimizer", "scheduler", "trainer", "logger")


def checked(config: DictConfig) -> Config:
    """The composed config as objects, every key, type and rule checked.

    A whole number where a fraction belongs becomes one in ``config`` itself, so that equal settings are equal.

    Raises:
        UserError: a key is not known or not set, a value has the wrong type or breaks a rule, or an interpolation
            leads nowhere
    """
    try:
        composed = OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        raise UserError(str(error).splitlines()[0]) from error
    assert isinstance(composed, dict)
    keys: dict[str, Any] = {str(key): value for key, value in composed.items() if key != "hydra"}
    _require_values(keys)
    known = [each.name for each in fields(Config)]
    for key in keys:
        if key not in known:
            raise unknown_key(key, known)
    sections = [*GROUPS, "data", *TYPED]
    scalars = {key: value for key, value in keys.items() if key not in (*sections, "callbacks", "choices")}
    typed: dict[str, Any] = typed_values("", Config, scalars)
    for key, section in TYPED.items():
        typed[key] = typed_values(key, section, _mapping(key, keys.get(key)))
    typed["data"] = _data_values(_mapping("data", keys.get("data")))
    for group in GROUPS:
        typed[group] = _call_values(group, keys.get(group))
        if typed[group] is None and group not in OPTIONAL:
            raise UserError(f"{group}=null: a run needs one; choose one of the files in conf/{group}/")
    if keys.get("callbacks") is not None:
        callbacks = _mapping("callbacks", keys["callbacks"])
        typed["callbacks"] = {name: _call_values(f"callbacks.{name}", given) for name, given in callbacks.items()}
    _write(config, typed)
    _check_model(typed["model"])
    _check_embedding(typed["embedding"])
    _check_pooling(typed["pooling"])
    objects = {key: section(**typed[key]) for key, section in TYPED.items()}
    whole = {group: config.get(group) for group in (*GROUPS, "callbacks", "choices")}
    return Config(**{key: typed[key] for key in scalars}, **whole, **objects, data=data_config(**typed["data"]))


def unknown_key(key: str, existing: Iterable[str]) -> UserError:
    """The message for a ``key`` that does not exist, with those of ``existing`` that were most likely meant."""
    meant = nearest(key, list(existing))
    return UserError(f"{key}: there is no such key" + (f"; did you mean {' or '.join(meant)}?" if meant else ""))


def nearest(key: str, existing: Sequence[str]) -> list[str]:
    """Which of ``existing`` may be meant by ``key``: none, one, or several that are equally good."""
    first, _, rest = key.partition(".")
    if first in SYNONYMS and first not in existing:
        renamed = SYNONYMS[first]
        return [renamed] if not rest else nearest(f"{renamed}.{rest}", existing) or [renamed]
    if key in existing:
        return [key]
    last = key.rpartition(".")[2]
    same = [each for each in existing if each.rpartition(".")[2] == last]
    if same:
        beside = [each for each in same if each.startswith(f"{first}.")]
        return beside or same
    if last in SYNONYMS and SYNONYMS[last] in existing:
        return [SYNONYMS[last]]
    above = key.rpartition(".")[0]
    siblings = [each for each in existing if each.rpartition(".")[0] == above]
    begun = [each for each in siblings if len(last) > 1 and each.rpartition(".")[2].startswith(last)]
    if begun:
        return [min(begun, key=len)]
    names = {each.rpartition(".")[2]: each for each in reversed(siblings)}
    close = get_close_matches(last, names, n=1) or get_close_matches(last, names, n=1, cutoff=0.5)[:1]
    return [names[close[0]]] if close else get_close_matches(key, existing, n=1)


# ---- values and the signature that they are for ----------------------------------------------------------------------


def typed_values(key: str, target: Callable[..., Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """``values`` with the types that the arguments of ``target`` have; nested calls are checked by themselves.

    Raises UserError for an argument that ``target`` does not have and for a value of another type.
    """
    parameters = inspect.signature(target).parameters
    open_ended = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters.values())
    hints = _hints(target)
    prefix = f"{key}." if key else ""
    provided = PROVIDED.get(key, ())
    typed = {}
    for name, value in values.items():
        if name.startswith("_") and name.endswith("_"):
            typed[name] = value
            continue
        if name in provided:
            raise UserError(f"{prefix}{name}: the program gives this argument itself; leave it out")
        if name not in parameters and not open_ended:
            raise unknown_key(f"{prefix}{name}", [f"{prefix}{each}" for each in parameters if each not in provided])
        typed[name] = _typed_value(f"{prefix}{name}", value, hints.get(name, Any))
    return typed


def _hints(target: Callable[..., Any]) -> dict[str, Any]:
    function = target.__init__ if inspect.isclass(target) else target
    try:
        return get_type_hints(function)
    except (NameError, TypeError):  # names that exist for a type checker only
        return {}


def _typed_value(key: str, value: Any, hint: Any) -> Any:
    """``value``, a whole number as a float where ``hint`` wants one and a number as text where it wants text."""
    if isinstance(value, Mapping) and "_target_" in value:
        return _call_values(key, value)
    options = _options(hint)
    plain = [each for each in options if each in RULES or get_origin(each) is Literal]
    if not plain or Any in options or object in options:
        return value
    if isinstance(value, (Mapping, list)):
        require(len(plain) < len(options), key, value, f"must be {_rule(plain)}")
        return value
    for option in plain:
        if type(value) is option or (get_origin(option) is Literal and value in get_args(option)):
            return value
    if float in options and type(value) is int:
        return float(value)
    if str in options and type(value) in (int, float):
        return str(value)
    raise UserError(f"{key}={shown(value)}: must be {_rule(plain)}")


def _options(hint: Any) -> list[Any]:
    if get_origin(hint) in (Union, UnionType):
        return [option for each in get_args(hint) for option in _options(each)]
    return [hint]


RULES = {bool: "true or false", int: "a whole number", float: "a number", str: "text", NoneType: "null"}


def _rule(plain: Sequence[Any]) -> str:
    words = [each for option in plain if get_origin(option) is Literal for each in map(str, get_args(option))]
    rules = [f"one of {', '.join(words)}"] if words else []
    rules += [text for option, text in RULES.items() if option in plain and not (option is int and float in plain)]
    return " or ".join(rules)


def _call_values(key: str, given: Any) -> dict[str, Any] | None:
    """The arguments of the call that ``given`` describes, checked; None stays None."""
    if given is None:
        return None
    values = _mapping(key, given)
    if "_target_" not in values:
        raise UserError(f"{key}._target_ is missing: it names the class or function that is called with the other keys")
    aside = {name: float(values.pop(name)) for name in ASIDE.get(key, ()) if name in values}
    return typed_values(key, _imported(key, values["_target_"]), values) | aside


def _imported(key: str, target: Any) -> Callable[..., Any]:
    from hydra.utils import get_object

    try:
        found: Callable[..., Any] = get_object(str(target))
    except Exception as error:  # whatever a module raises when it is imported
        reason = str(error.__cause__ or error).strip().splitlines()[0]
        raise UserError(f"{key}._target_={target} cannot be imported: {reason}") from error
    require(callable(found), f"{key}._target_", target, "must name a class or a function")
    return found


def _data_values(values: dict[str, Any]) -> dict[str, Any]:
    common = typed_values("data", DataConfig, {key: value for key, value in values.items() if key in COMMON})
    own = {key: value for key, value in values.items() if key not in COMMON}
    try:
        source = _call_values("data", own)
    except UserError as error:
        unknown = next((key for key in own if str(error).startswith(f"data.{key}: there is no such key")), None)
        if unknown is None:
            raise
        arguments = inspect.signature(_imported("data", own["_target_"])).parameters
        raise unknown_key(f"data.{unknown}", [f"data.{each}" for each in (*arguments, *COMMON)]) from None
    return {**common, **(source or {})}


def _mapping(key: str, given: Any) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        if key.startswith("callbacks."):
            rule = f"must be null, or keys of a callback: set {key}._target_ and its arguments"
            raise UserError(f"{key}={shown(given)}: {rule}")
        raise UserError(f"{key}={shown(given)}: it is a group of keys; choose one of the files in conf/{key}/")
    return {str(name): value for name, value in given.items()}


def _require_values(keys: Mapping[str, Any], prefix: str = "") -> None:
    for name, value in keys.items():
        if isinstance(value, Mapping):
            _require_values(value, f"{prefix}{name}.")
        elif value == "???":
            key = f"{prefix}{name}"
            raise UserError(f"{key} is not set: {NEEDED.get(key, f'add {key}=... to the command')}")


def _write(config: DictConfig, typed: Mapping[str, Any]) -> None:
    """Put values whose type has changed into ``config``."""
    for key, value in typed.items():
        if isinstance(value, Mapping):
            if value and OmegaConf.is_dict(config.get(key)):
                _write(config[key], value)
        elif not isinstance(value, list) and type(config[key]) is not type(value):
            config[key] = value


# ---- rules between arguments, until the constructors have them -------------------------------------------------------


def _check_model(model: Mapping[str, Any]) -> None:
    """The rules between the keys of `model.*`, where it is one of our encoders."""
    if model["_target_"] == "unrolled.nn.models.build_encoder":
        from unrolled.nn.models import check_keys  # not at the top: it imports torch

        try:
            check_keys(**{name: value for name, value in model.items() if name != "_target_"})
        except ValueError as error:
            raise UserError(str(error)) from error


def _check_embedding(embedding: Mapping[str, Any]) -> None:
    size = embedding["embedding_dim"]
    require(size > 0, "embedding.embedding_dim", size, "must be at least 1")
    share("embedding.dropout", embedding.get("dropout", 0.0))
    share("embedding.word_dropout", embedding.get("word_dropout", 0.0))


def _check_pooling(pooling: Mapping[str, Any]) -> None:
    share("pooling.dropout", pooling.get("dropout", 0.0))
