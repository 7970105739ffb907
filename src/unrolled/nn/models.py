"""The builder of encoders: the keys of conf/model/*.yaml are the arguments of `build_encoder`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hydra.utils import get_class
from torch import nn

from unrolled.nn.cells import Cell, GRUCell, LSTMCell, RNNCell
from unrolled.nn.cells.rnn import NONLINEARITIES
from unrolled.nn.encoder import Encoder
from unrolled.nn.layer import Layer
from unrolled.nn.memoryless import Memoryless
from unrolled.nn.official import Official
from unrolled.nn.recurrence import ENGINES, Engine, Recurrence

IMPLEMENTATIONS = ("handwritten", "official")


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


def build_encoder(
    input_size: int,
    hidden_size: int,
    cell: str,
    num_layers: int = 1,
    bidirectional: bool = False,
    dropout: float = 0.0,
    proj_size: int = 0,
    shortcut: bool = False,
    implementation: str = "handwritten",
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

    Raises ValueError for an option that this cell or this implementation does not have, and a value out of range.
    """
    check_keys(
        cell=cell,
        hidden_size=hidden_size,
        num_layers=num_layers,
        bidirectional=bidirectional,
        dropout=dropout,
        proj_size=proj_size,
        implementation=implementation,
        engine=engine,
        input_dropout=input_dropout,
        layer_dropout=layer_dropout,
        **options,
    )
    recurrence = _recurrence(
        cell, hidden_size, proj_size, implementation, {"engine": engine, **options, **(cell_options or {})}
    )
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


def _recurrence(
    cell: str, hidden_size: int, proj_size: int, implementation: str, options: dict[str, Any]
) -> Callable[[int], nn.Module]:
    """From an input size to a recurrence with one layer and one direction."""
    if proj_size:
        options["proj_size"] = proj_size
    if cell == "memoryless":
        return lambda size: Memoryless(size, hidden_size)
    if implementation == "official":
        kind = KINDS[cell]
        shared = {name: options[name] for name in kind.arguments if name in options}
        module: Callable[..., nn.RNNBase] = kind.official
        orthogonal = kind.cell.gates if options.get("orthogonal") else 0
        return lambda size: Official(module(size, hidden_size, **shared), orthogonal)
    equations = KINDS[cell].cell if cell in KINDS else get_class(cell)
    if not issubclass(equations, Cell):
        raise ValueError(f"model.cell={cell}: no class derived from unrolled.nn.cells.Cell")
    return lambda size: Recurrence(equations, size, hidden_size, **options)


SHARES = ("dropout", "input_dropout", "layer_dropout", "weight_dropout", "zoneout_hidden", "zoneout_cell")
BEYOND_TORCH = ("learned_state", "forget_bias", "chrono", *SHARES[3:])  # off: null, false or 0


def check_keys(cell: str, **keys: Any) -> None:
    """The rules of `model.*` and between its keys, in the words of the command line.

    Raises ValueError with the key, its value, the rule, and the way out.
    """
    for name, least in (("hidden_size", 1), ("num_layers", 1), ("proj_size", 0)):
        if keys.get(name, least) < least:
            raise ValueError(f"model.{name}={keys[name]}: must be at least {least}")
    for name in SHARES:
        if not 0 <= keys.get(name, 0) < 1:
            raise ValueError(f"model.{name}={keys[name]}: a share, from 0 to below 1")
    if keys.get("nonlinearity", "tanh") not in NONLINEARITIES:
        raise ValueError(f"model.nonlinearity={keys['nonlinearity']}: choose one of {', '.join(NONLINEARITIES)}")
    implementation = keys.get("implementation", "handwritten")
    if implementation not in IMPLEMENTATIONS:
        raise ValueError(f"model.implementation={implementation}: choose one of {', '.join(IMPLEMENTATIONS)}")
    if implementation == "official":
        _check_official(cell, keys)
    engine = keys.get("engine", "auto")
    if engine not in ENGINES:
        raise ValueError(f"model.engine={engine}: choose one of {', '.join(ENGINES)}")
    if engine == "fused":
        for name in ("zoneout_hidden", "zoneout_cell"):
            if keys.get(name):
                raise ValueError(
                    f"model.{name}={keys[name]}: only the engine eager has zoneout; leave model.engine at auto"
                )
        if implementation == "official" or cell not in KINDS:
            what = "torch.nn runs itself" if implementation == "official" else f"it has no equations of {cell}"
            raise ValueError(f"model.engine=fused: {what}; leave model.engine at auto")
    proj_size, hidden_size = keys.get("proj_size", 0), keys.get("hidden_size", 1)
    if cell in ("rnn", "gru", "memoryless") and proj_size:
        what = {"rnn": "an RNN", "gru": "a GRU", "memoryless": "a linear map"}[cell]
        raise ValueError(f"model.proj_size={proj_size}: {what} has no projection; choose model=lstmp")
    if proj_size and proj_size >= hidden_size:
        raise ValueError(
            f"model.proj_size={proj_size}: must be smaller than model.hidden_size={hidden_size}; for no projection "
            "choose model=lstm"
        )
    for name, only in (("num_layers", 1), ("bidirectional", False), ("dropout", 0.0)):
        if cell == "memoryless" and keys.get(name, only) != only:
            raise ValueError(
                f"model.{name}={_shown(keys[name])}: model=memoryless is one linear layer: leave it at {_shown(only)}"
            )
    chrono, forget_bias = keys.get("chrono"), keys.get("forget_bias")
    if chrono is not None and chrono < 2:
        raise ValueError(f"model.chrono={chrono}: a span of at least 2 tokens, or null")
    if chrono is not None and forget_bias is not None:
        raise ValueError(
            f"model.chrono={chrono}: model.forget_bias={forget_bias} sets the same bias: leave one of the two at null"
        )


def _check_official(cell: str, keys: dict[str, Any]) -> None:
    if cell not in KINDS and cell != "memoryless":
        raise ValueError(
            f"model.implementation=official: torch.nn has no {cell}; choose model.implementation=handwritten, or "
            "model=rnn, lstm, lstmp or gru"
        )
    if keys.get("nonlinearity") == "identity":
        raise ValueError(
            "model.nonlinearity=identity: torch.nn.RNN has tanh and relu only; choose model.implementation=handwritten"
        )
    for name in BEYOND_TORCH:
        value = keys.get(name)
        if value not in (None, False):
            default = "null" if name in ("forget_bias", "chrono") else "false" if value is True else "0"
            raise ValueError(
                f"model.{name}={_shown(value)}: torch.nn has no such option; choose model.implementation=handwritten, "
                f"or leave model.{name} at {default}"
            )


def _shown(value: Any) -> str:
    """As one types it on the command line."""
    return str(value).lower() if isinstance(value, bool) else str(value)
