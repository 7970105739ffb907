"""The typed schema of conf/: every key that is ours, its type, its unit, and the rules between keys.

A misspelt key or a wrong type stops when Hydra composes the config; a rule is checked when the composed config becomes
these objects, the first thing a run does. Nothing has been loaded or written by then.
"""

from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from unrolled.data.config import SCHEMAS as DATA_SCHEMAS
from unrolled.errors import UserError
from unrolled.nn.build import IMPLEMENTATIONS
from unrolled.nn.pooling import POOLINGS
from unrolled.tbptt.losses import CHUNK_LOSSES

SCHEDULES = ("documents", "stream")
GRADIENTS = ("truncated", "exact")
MEMORIES = ("retain", "recompute")


def require(holds: bool, key: str, value: Any, rule: str) -> None:
    """Stop with one message that names the key, the value and the rule, unless it holds."""
    if not holds:
        raise UserError(f"{key}={'null' if value is None else value}: {rule}")


def one_of(key: str, value: str, choices: tuple[str, ...]) -> None:
    """Stop unless ``value`` is one of ``choices``."""
    require(value in choices, key, value, f"choose one of {', '.join(choices)}")


@dataclass
class ModelConfig:
    """The encoder (`model.*`): the arguments of the function in encoders/build.py that `_target_` names."""

    _target_: str = MISSING
    implementation: str = "handwritten"  # handwritten: from the equations in cells/; official: torch.nn
    hidden_size: int = 128  # H, features of the recurrent memory
    num_layers: int = 1
    bidirectional: bool = False  # H features in each direction
    dropout: float = 0.0  # share of a layer's outputs zeroed before the next layer
    proj_size: int = 0  # P, features of the LSTM's projected output; 0: no projection
    shortcut: bool = True  # outputs have the inputs beside them, so the pooling sees the words, too

    def __post_init__(self) -> None:
        one_of("model.implementation", self.implementation, IMPLEMENTATIONS)
        require(self.hidden_size > 0, "model.hidden_size", self.hidden_size, "must be at least 1")
        require(self.num_layers > 0, "model.num_layers", self.num_layers, "must be at least 1")
        require(0 <= self.dropout < 1, "model.dropout", self.dropout, "a share of elements to zero, from 0 to below 1")
        require(self.proj_size >= 0, "model.proj_size", self.proj_size, "must be 0 (no projection) or more")


@dataclass
class RecurrentConfig(ModelConfig):
    """What the handwritten recurrences offer beyond torch.nn; off by default, so that both are equal."""

    orthogonal: bool = False  # recurrent weights start as orthogonal matrices (Saxe et al. 2014)
    learned_state: bool = False  # the state before the first token is a parameter
    input_dropout: float = 0.0  # share of input features dropped for a whole document (Gal & Ghahramani 2016)
    layer_dropout: float = 0.0  # the same between layers
    weight_dropout: float = 0.0  # share of recurrent weights dropped for a step (DropConnect; Merity et al. 2018)
    zoneout_hidden: float = 0.0  # probability for a unit of h to keep its value in a step (Krueger et al. 2017)

    def __post_init__(self) -> None:
        super().__post_init__()
        _extras_off(self, RecurrentConfig)
        for name in RecurrentConfig.__annotations__:
            value = getattr(self, name)
            require(0 <= value < 1 or value is True, f"model.{name}", value, "a share, from 0 to below 1")


def _extras_off(model: ModelConfig, extras: type) -> None:
    for name in extras.__annotations__:
        value = getattr(model, name)
        if model.implementation == "official" and value not in (None, False):
            raise UserError(
                f"model.{name}={value}: torch.nn has no such option; choose model.implementation=handwritten, "
                f"or leave model.{name} at {getattr(extras, name)}"
            )


@dataclass
class RNNConfig(RecurrentConfig):
    """Elman's network (1990)."""

    nonlinearity: str = "tanh"

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("model.nonlinearity", self.nonlinearity, ("tanh", "relu", "identity"))
        require(
            self.nonlinearity != "identity" or self.implementation == "handwritten",
            "model.nonlinearity",
            self.nonlinearity,
            "torch.nn.RNN has tanh and relu only; choose model.implementation=handwritten",
        )
        _no_projection(self, "an RNN")


@dataclass
class LSTMConfig(RecurrentConfig):
    """Long short-term memory, with `proj_size` LSTMP."""

    forget_bias: float | None = None  # first value of the forget gate's bias; null: uniform, as torch has it
    chrono: int | None = (
        None  # longest span of the memory in tokens: first biases of its gates (Tallec & Ollivier 2018)
    )
    zoneout_cell: float = 0.0  # probability for a unit of c to keep its value in a step

    def __post_init__(self) -> None:
        super().__post_init__()
        _extras_off(self, LSTMConfig)
        require(0 <= self.zoneout_cell < 1, "model.zoneout_cell", self.zoneout_cell, "a share, from 0 to below 1")
        _chrono(self.chrono)
        rule = f"model.forget_bias={self.forget_bias} sets the same bias: leave one of the two at null"
        require(self.forget_bias is None or self.chrono is None, "model.chrono", self.chrono, rule)
        require(
            self.proj_size == 0 or self.proj_size < self.hidden_size,
            "model.proj_size",
            self.proj_size,
            f"must be smaller than model.hidden_size={self.hidden_size}; for no projection choose model=lstm",
        )


@dataclass
class WrittenOutLSTMConfig(ModelConfig):
    """The LSTM in another layout (`model=lstm_per_gate`, `model=lstm_single_matrix`): to be read, and to be checked."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self.implementation == "handwritten",
            "model.implementation",
            self.implementation,
            "this layout is handwritten only; for torch.nn's LSTM choose model=lstm",
        )
        require(
            self.proj_size == 0 or self.proj_size < self.hidden_size,
            "model.proj_size",
            self.proj_size,
            f"must be smaller than model.hidden_size={self.hidden_size}, or 0 for no projection",
        )


@dataclass
class GRUConfig(RecurrentConfig):
    """Gated recurrent unit."""

    chrono: int | None = None  # longest span of the memory in tokens: first bias of its gate (Tallec & Ollivier 2018)

    def __post_init__(self) -> None:
        super().__post_init__()
        _extras_off(self, GRUConfig)
        _chrono(self.chrono)
        _no_projection(self, "a GRU")


@dataclass
class CustomConfig(RecurrentConfig):
    """A cell of one's own, over time."""

    cell: str = MISSING  # the dotted path of a class derived from unrolled.nn.cells.Cell
    cell_options: dict[str, Any] = field(default_factory=dict)  # further arguments of that class
    zoneout_cell: float = 0.0  # probability for a unit of a second state to keep its value in a step

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self.implementation == "handwritten",
            "model.implementation",
            self.implementation,
            f"torch.nn has no {self.cell}; choose handwritten",
        )
        require(0 <= self.zoneout_cell < 1, "model.zoneout_cell", self.zoneout_cell, "a share, from 0 to below 1")


def _chrono(chrono: int | None) -> None:
    require(chrono is None or chrono >= 2, "model.chrono", chrono, "a span of at least 2 tokens, or null")


def _no_projection(model: ModelConfig, what: str) -> None:
    require(model.proj_size == 0, "model.proj_size", model.proj_size, f"{what} has no projection; choose model=lstmp")


@dataclass
class MemorylessConfig(ModelConfig):
    """A linear map of each token (`model=memoryless`): what remains when recurrence is taken away.

    It has the keys of the others, so that one sweep can run over all of them; both implementations are the same layer.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        _no_projection(self, "a linear map")
        for name, only in (("num_layers", 1), ("bidirectional", False), ("dropout", 0.0)):
            value = getattr(self, name)
            require(value == only, f"model.{name}", value, f"model=memoryless is one linear layer: leave it at {only}")


@dataclass
class EmbeddingConfig:
    """Token vectors (`embedding.*`)."""

    _target_: str = MISSING
    embedding_dim: int = 128  # E
    dropout: float = 0.0  # share of vector elements zeroed
    word_dropout: float = 0.0  # share of tokens read as unknown

    def __post_init__(self) -> None:
        require(self.embedding_dim > 0, "embedding.embedding_dim", self.embedding_dim, "must be at least 1")
        require(0 <= self.dropout < 1, "embedding.dropout", self.dropout, "a share, from 0 to below 1")
        require(0 <= self.word_dropout < 1, "embedding.word_dropout", self.word_dropout, "a share, from 0 to below 1")


@dataclass
class PoolingConfig:
    """One vector per document (`pooling.*`)."""

    name: str = "concat"
    dropout: float = 0.0  # share of the document vector zeroed before the head

    def __post_init__(self) -> None:
        one_of("pooling.name", self.name, POOLINGS)
        require(0 <= self.dropout < 1, "pooling.dropout", self.dropout, "a share, from 0 to below 1")


@dataclass
class TBPTTConfig:
    """How documents are cut in time and meet training steps (`tbptt.*`)."""

    schedule: str = "documents"  # a step is a batch of whole documents, or one chunk of every slot (stream)
    chunk_len: int | None = 100  # time steps per chunk; null: a document is one chunk, full BPTT
    batch_size: int = 64  # documents per optimizer step, or slots
    gradient: str = "truncated"  # the state's gradient stops at chunk boundaries; exact: it does not
    memory: str = "retain"  # of all activations; recompute: of one chunk, the others are computed again
    carry: bool = True  # hand the state on; false: every chunk starts afresh
    loss: str = "final"  # stream: which chunks of a document have a loss
    k1: int | None = None  # stream: new tokens per optimizer step (Williams & Peng 1990); null: k2
    k2: int | None = None  # stream: tokens that a step's gradient goes back; null: chunk_len, which is the same
    eval_batch_size: int = 128  # documents side by side in validation and test

    def __post_init__(self) -> None:
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
    """The whole config; groups that hold other libraries' arguments stay free."""

    seed: int = 0  # of initial weights, validation split, shuffling and dropout
    name: str = MISSING  # shown in TensorBoard and tables
    threads: int | None = None  # CPU threads of torch; null: as torch finds them
    output_dir: str = MISSING  # of all runs
    class_weights: str = "equal"  # of the documents in the training loss; balanced: every class has the same part
    label_smoothing: float = 0.0  # share of the target spread over all classes in training (Szegedy et al. 2016)
    dry_run: bool = False  # check everything, show the data and the model, and stop before training
    data: Any = MISSING
    text: Any = MISSING
    embedding: EmbeddingConfig = field(default_factory=EmbeddingConfig)
    model: Any = MISSING
    pooling: PoolingConfig = field(default_factory=PoolingConfig)
    tbptt: TBPTTConfig = field(default_factory=TBPTTConfig)
    optimizer: Any = MISSING
    scheduler: Any = None
    trainer: Any = MISSING
    logger: Any = None
    callbacks: Any = None
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    resume: str | None = None  # the directory of a run to go on with, by its own settings
    choices: Any = None  # written by the run: which data, text and model were chosen by name

    def __post_init__(self) -> None:
        require(self.threads is None or self.threads > 0, "threads", self.threads, "at least 1, or null")
        one_of("class_weights", self.class_weights, ("equal", "balanced"))
        require(0 <= self.label_smoothing < 1, "label_smoothing", self.label_smoothing, "a share, from 0 to below 1")
        require(self.seed >= 0, "seed", self.seed, "must be 0 or more")
        if self.tbptt.schedule == "stream" and getattr(self.model, "bidirectional", False):
            rule = "the backward direction knows its own window only and cannot be read again; set tbptt.k1 to k2"
            require(self.tbptt.k1 == self.tbptt.k2, "tbptt.k1", self.tbptt.k1, f"with model.bidirectional=true {rule}")


def register() -> None:
    """Make the schema known to Hydra, for the `defaults` of conf/."""
    store = ConfigStore.instance()
    store.store(name="schema", node=Config)
    models = {
        "rnn": RNNConfig,
        "lstm": LSTMConfig,
        "lstm_written_out": WrittenOutLSTMConfig,
        "gru": GRUConfig,
        "custom": CustomConfig,
        "memoryless": MemorylessConfig,
    }
    groups = {"schema/model": models, **DATA_SCHEMAS}
    for group, nodes in groups.items():
        for name, node in nodes.items():
            store.store(group=group, name=name, node=node)


def checked(config: DictConfig) -> Config:
    """The composed config as objects, every rule checked.

    Raises:
        UserError: a value breaks a rule, or an interpolation leads nowhere
    """
    try:
        checked = OmegaConf.to_object(config)
    except OmegaConfBaseException as error:
        raise UserError(str(error).splitlines()[0]) from error
    assert isinstance(checked, Config)
    return checked
