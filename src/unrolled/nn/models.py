"""The builder of encoders: the keys of conf/model/*.yaml are the arguments of `build_encoder`."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, get_args

from hydra.utils import get_class
from torch import nn

from unrolled.nn.cells import Cell, GRUCell, LSTMCell, RNNCell
from unrolled.nn.encoder import Encoder
from unrolled.nn.layer import Layer
from unrolled.nn.memoryless import Memoryless
from unrolled.nn.official import Official
from unrolled.nn.recurrence import Engine, Recurrence

Implementation = Literal["handwritten", "official"]
IMPLEMENTATIONS = get_args(Implementation)


@dataclass(frozen=True)
class Kind:
    """A recurrence that exists twice: the equations, torch.nn's class, and the arguments that only this kind has."""

    cell: type[Cell]
    official: type[nn.RNNBase]
    arguments: tuple[str, ...] = ()


KINDS = {
    "rnn": Kind(RNNCell, nn.RNN, ("nonlinearity",)),
    "lstm": Kind(LSTMCell, nn.LSTM, ("proj_size",)),
    "gru": Kind(GRUCell, nn.GRU),
}
BEYOND_TORCH = {  # options that torch.nn has not, and how each is switched off
    "learned_state": False,
    "forget_bias": None,
    "chrono": None,
    "weight_dropout": 0,
    "zoneout_hidden": 0,
    "zoneout_cell": 0,
}


def build_encoder(
    input_size: int,
    hidden_size: int,
    cell: str,
    num_layers: int = 1,
    bidirectional: bool = False,
    dropout: float = 0.0,
    proj_size: int = 0,
    shortcut: bool = False,
    implementation: Implementation = "handwritten",
    engine: Engine = "auto",
    input_dropout: float = 0.0,
    layer_dropout: float = 0.0,
    cell_options: dict[str, Any] | None = None,
    **options: Any,
) -> Encoder:
    """Layers of one recurrence on top of each other, each of which reads the outputs of the one below.

    cell: `rnn`, `lstm` or `gru`, which torch.nn has, too; `memoryless`, a linear map of each token; or the dotted path
    of a class derived from `unrolled.nn.cells.Cell`; options: what a handwritten recurrence has beyond torch.nn (see
    `Extras`), and its cell (`forget_bias`, ...). conf/model/*.yaml say what the others mean.

    Raises ValueError for an option that this cell or this implementation does not have.
    """
    if cell == "memoryless":
        fixed = {
            "num_layers": (num_layers, 1),
            "bidirectional": (bidirectional, False),
            "dropout": (dropout, 0.0),
            "proj_size": (proj_size, 0),
        }
        for name, (value, only) in fixed.items():
            if value != only:
                raise ValueError(
                    f"{name}={_shown(value)}: model=memoryless is one linear layer: leave it at {_shown(only)}"
                )
        _check_read(options, ())
    if proj_size:
        if cell in KINDS and "proj_size" not in KINDS[cell].arguments:
            raise ValueError(f"proj_size={proj_size}: model.cell={cell} has no projection; choose model=lstmp")
        options["proj_size"] = proj_size
    if engine == "fused" and (implementation == "official" or cell == "memoryless"):
        raise ValueError("engine=fused: only handwritten recurrences have engines; leave model.engine at auto")
    if cell == "memoryless":
        recurrence: Callable[[int], nn.Module] = partial(Memoryless, hidden_size=hidden_size)
    elif implementation == "official":
        recurrence = _official(cell, hidden_size, options)
    else:
        recurrence = _handwritten(cell, hidden_size, {"engine": engine, **options, **(cell_options or {})})
    layers: list[Layer] = []
    size = input_size
    for number in range(num_layers):
        layers.append(
            Layer(
                [recurrence(size) for _ in range(2 if bidirectional else 1)],
                size,
                dropout=dropout if number else 0.0,
                shared_dropout=layer_dropout if number else input_dropout,
                shortcut=shortcut,
            )
        )
        size = layers[-1].output_size
    return Encoder(layers)


def _handwritten(cell: str, hidden_size: int, options: dict[str, Any]) -> Callable[[int], nn.Module]:
    """From an input size to a recurrence with one layer and one direction."""
    try:
        equations = KINDS[cell].cell if cell in KINDS else get_class(cell)
    except ImportError as error:
        raise ValueError(f"cell={cell}: cannot be imported: {error.__cause__ or error}") from error
    if not issubclass(equations, Cell):
        raise ValueError(f"cell={cell}: no class derived from unrolled.nn.cells.Cell")
    if equations.step is Cell.step:
        raise ValueError(f"cell={cell}: the class must define step(x, state, w), the equations of a time step")
    return lambda size: Recurrence(equations, size, hidden_size, **options)


def _official(cell: str, hidden_size: int, options: dict[str, Any]) -> Callable[[int], nn.Module]:
    """The same with torch.nn's class."""
    if cell not in KINDS:
        name = cell.rpartition(".")[2].removesuffix("Cell")
        raise ValueError(
            f"implementation=official: torch.nn has no {name}; choose model.implementation=handwritten, or "
            "model=rnn, lstm, lstmp or gru"
        )
    for name, off in BEYOND_TORCH.items():
        if options.get(name, off) not in (off, None):
            raise ValueError(
                f"{name}={_shown(options[name])}: torch.nn has no such option; choose "
                f"model.implementation=handwritten, or leave model.{name} at {_shown(off)}"
            )
    if options.get("nonlinearity") == "identity":
        raise ValueError(
            "nonlinearity=identity: torch.nn.RNN has tanh and relu only; choose model.implementation=handwritten"
        )
    kind = KINDS[cell]
    _check_read(options, ("orthogonal", *kind.arguments, *BEYOND_TORCH))
    module: Callable[..., nn.RNNBase] = kind.official
    own = {name: options[name] for name in kind.arguments if name in options}
    orthogonal = kind.cell.gates if options.get("orthogonal") else 0
    return lambda size: Official(module(size, hidden_size, **own), orthogonal)


def _check_read(options: dict[str, Any], read: Collection[str]) -> None:
    for name, value in options.items():
        if name not in read:
            raise ValueError(f"{name}={_shown(value)}: this model has no such option; leave it out")


def _shown(value: Any) -> str:
    """As one types it on the command line."""
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
