"""Checks of a composed config: every key is known, every value has the type and keeps the rules of its key.

A group of conf/ is one call: its keys are the arguments of the class or function that `_target_` names, and are held
against that signature. What belongs to no constructor (`tbptt`, `data`, `text`, `checkpoint` and the keys of no group)
has a dataclass here, in data/config.py or in tbptt/config.py. Ranges stand in the types and in `NUMBERS`; rules between
keys are checked by whoever is constructed.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from importlib.util import find_spec
from typing import Annotated, Any, Literal

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from unrolled.arguments import (
    Count,
    Positive,
    Rule,
    Share,
    at_least,
    called_with,
    leaves,
    require,
    shown,
    typed_value,
    typed_values,
    unknown_key,
)
from unrolled.data.config import COMMON, DataConfig, TextConfig, data_config
from unrolled.data.readers.text_file import existing_file
from unrolled.data.sources.build import build_source
from unrolled.data.text_choice import AUTO
from unrolled.errors import UserError
from unrolled.files import cache_directory
from unrolled.tbptt.config import TBPTTConfig

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
ASIDE: dict[str, dict[str, Any]] = {"pooling": {"dropout": Share}, "model": {"wide": bool}}
Batches = Annotated[
    float,
    Rule(
        lambda n: 0 < n <= 1 or (n > 1 and n == int(n)), "a number of batches, or a share of them from above 0 to 1.0"
    ),
]
NUMBERS: dict[str, Any] = {  # of groups whose classes come with torch; not all of these have a rule of their own
    "model.hidden_size": Count,
    "model.num_layers": Count,
    "model.proj_size": Annotated[int, at_least(0)],
    **dict.fromkeys([f"model.{kind}dropout" for kind in ("", "input_", "layer_", "weight_")], Share),
    **dict.fromkeys(["model.zoneout_hidden", "model.zoneout_cell"], Share),
    "embedding.embedding_dim": Count,
    "embedding.dropout": Share,
    "embedding.word_dropout": Share,
    "pooling.dropout": Share,
    "optimizer.lr": Positive,
    "optimizer.weight_decay": float,
    "callbacks.early_stopping.patience": int | None,
    "trainer.gradient_clip_val": Annotated[float, Rule(lambda norm: norm >= 0, "at least 0")] | None,
    "trainer.accumulate_grad_batches": Count,
    "trainer.log_every_n_steps": Annotated[int, at_least(0)],
    "trainer.check_val_every_n_epoch": Count | None,
    **dict.fromkeys(["trainer.val_check_interval", "trainer.limit_train_batches"], Batches | None),
    "trainer.max_steps": int,
    "trainer.max_epochs": Annotated[
        int,
        Rule(lambda n: n == -1 or n >= 1, "-1 (until trainer.max_steps ends the run), at least 1"),
    ]
    | None,
}
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


@dataclass
class CheckpointConfig:
    """When a run saves points to resume from (`checkpoint.*`), besides those before each validation."""

    every_n_steps: Count | None = None  # optimizer steps
    every_minutes: Positive | None = 5.0
    keep: Annotated[int, at_least(2, ", as the newest may turn out to be damaged")] = 2  # the newest stay


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
    seed: Annotated[int, at_least(0)] = 0
    threads: Count | None = None
    class_weights: Literal["equal", "balanced"] = "equal"
    label_smoothing: Share = 0.0
    baseline: Literal["linear"] | None = "linear"
    dry_run: bool = False
    resume: str | None = None
    choices: Any = None  # written by the run: which data, text and model were chosen by name
    composed: DictConfig = field(init=False, repr=False)  # what all of this was made of; the groups are parts of it

    def __post_init__(self) -> None:
        if self.tbptt.schedule == "stream" and self.model.get("bidirectional", False):
            rule = "the backward direction knows its own window only and cannot be read again; set tbptt.k1 to k2"
            require(self.tbptt.k1 == self.tbptt.k2, "tbptt.k1", self.tbptt.k1, f"with model.bidirectional=true {rule}")
        epochs, steps = (self.trainer.get(name) for name in ("max_epochs", "max_steps"))
        endless = epochs in (None, -1) and steps in (None, -1)
        rule = "a schedule of the learning rate needs to know the end; set trainer.max_steps too, or a number of epochs"
        require(self.scheduler is None or not endless, "trainer.max_epochs", epochs, rule)


TYPED = {"tbptt": TBPTTConfig, "checkpoint": CheckpointConfig, "text": TextConfig}
OPTIONAL = ("scheduler", "logger", "recipe")
NETWORK = ("embedding", "model", "pooling")
TRAINING = ("optimizer", "scheduler", "trainer", "logger", "recipe")
GROUPS = (*NETWORK, *TRAINING)


def check_early(config: DictConfig) -> None:
    """What `checked` checks without torch and Lightning, whose import takes seconds, and whether the files are there.

    Raises UserError as `checked` does, for classes whose module is not there, for files of data and vectors that cannot
    be read, and for no usable cache.
    """
    keys = _composed(config)
    objects = _without_torch(keys)[1]
    _check_device(keys.get("trainer"))
    for key, value in leaves(keys):
        named, module = key.endswith("._target_") or key == "model.cell", str(value).partition(".")[0]
        there = module in sys.modules or (module and find_spec(module) is not None)
        if named and "." in str(value) and not there:
            rule = f"there is no module {module}; the folder of one of your own must be on PYTHONPATH"
            raise UserError(f"{key}={value}: {rule}")
    build_source(objects["data"].source).look()
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
    made = Config(**{group: config.get(group) for group in (*GROUPS, "callbacks", "choices")}, **objects)
    made.composed = config
    return made


def _composed(config: DictConfig) -> dict[str, Any]:
    """The keys of ``config``, all known and set."""
    if config.get("recipe") is None and (waiting := undecided(config)):
        others = f" (and {', '.join(waiting[1:])})" if waiting[1:] else ""
        raise UserError(
            f"{waiting[0]}={AUTO}: recipe=none decides nothing; give a value{others}, or choose recipe=auto"
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
    known = [each.name for each in fields(Config) if each.init]
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
    for key, hint in NUMBERS.items():
        value: Any = keys
        for name in key.split("."):
            value = value.get(name) if isinstance(value, Mapping) else None
        if value is not None and not isinstance(value, (Mapping, list)):  # those a class of one's own may take
            typed_value(key, value, hint)
    return typed, objects


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
    aside = {
        each: typed_value(f"{key}.{each}", values.pop(each), hint)
        for each, hint in ASIDE.get(key, {}).items()
        if each in values
    }
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
