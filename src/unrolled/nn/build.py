"""What `model=` selects: an encoder from the keys of conf/model/*.yaml, which are these functions' arguments."""

from collections.abc import Callable
from typing import Any

from hydra.utils import get_class
from torch import nn

from unrolled.nn.cells import Cell
from unrolled.nn.composed import Deep
from unrolled.nn.encoder import Encoder
from unrolled.nn.gru import GRU
from unrolled.nn.lstm import LSTM
from unrolled.nn.memoryless import Memoryless
from unrolled.nn.official import Official
from unrolled.nn.one_layer_lstm import OneLayerLSTM
from unrolled.nn.per_gate import PerGateLSTM
from unrolled.nn.recurrence import Recurrence
from unrolled.nn.rnn import RNN
from unrolled.nn.shortcut import Shortcut
from unrolled.nn.single_matrix import SingleMatrixLSTM

IMPLEMENTATIONS = ("handwritten", "official")

Layers = Callable[..., nn.Module]  # (input_size, num_layers=, dropout=, ...) -> a recurrence in one direction


def rnn(
    input_size: int,
    hidden_size: int,
    num_layers: int = 1,
    bidirectional: bool = False,
    dropout: float = 0.0,
    proj_size: int = 0,
    nonlinearity: str = "tanh",
    shortcut: bool = False,
    implementation: str = "handwritten",
    **extras: Any,
) -> Encoder:
    """Elman's network (1990); extras: what the handwritten `RNN` has beyond torch.nn's. It takes no projection."""
    _no_projection(proj_size)

    def layers(size: int, **how: Any) -> nn.Module:
        if implementation == "official":
            return Official(nn.RNN(size, hidden_size, nonlinearity=nonlinearity, **how))
        return RNN(size, hidden_size, nonlinearity=nonlinearity, **how, **extras)

    return _encoder(layers, input_size, hidden_size, num_layers, bidirectional, dropout, shortcut, extras)


def lstm(
    input_size: int,
    hidden_size: int,
    num_layers: int = 1,
    bidirectional: bool = False,
    dropout: float = 0.0,
    proj_size: int = 0,
    shortcut: bool = False,
    implementation: str = "handwritten",
    **extras: Any,
) -> Encoder:
    """Long short-term memory (Hochreiter & Schmidhuber 1997); with ``proj_size`` LSTMP (Sak et al. 2014)."""

    def layers(size: int, **how: Any) -> nn.Module:
        if implementation == "official":
            return Official(nn.LSTM(size, hidden_size, proj_size=proj_size, **how))
        return LSTM(size, hidden_size, proj_size=proj_size, **how, **extras)

    return _encoder(layers, input_size, proj_size or hidden_size, num_layers, bidirectional, dropout, shortcut, extras)


def lstm_per_gate(
    input_size: int,
    hidden_size: int,
    num_layers: int = 1,
    bidirectional: bool = False,
    dropout: float = 0.0,
    proj_size: int = 0,
    shortcut: bool = False,
    implementation: str = "handwritten",
) -> Encoder:
    """The LSTM with one named matrix and bias per gate; the same numbers as `lstm`, slower."""
    layers = _single_layers(PerGateLSTM, hidden_size, proj_size, implementation)
    return _encoder(layers, input_size, proj_size or hidden_size, num_layers, bidirectional, dropout, shortcut, {})


def lstm_single_matrix(
    input_size: int,
    hidden_size: int,
    num_layers: int = 1,
    bidirectional: bool = False,
    dropout: float = 0.0,
    proj_size: int = 0,
    shortcut: bool = False,
    implementation: str = "handwritten",
) -> Encoder:
    """The LSTM with one matrix for [x, h] and one bias; the same numbers as `lstm`, slower."""
    layers = _single_layers(SingleMatrixLSTM, hidden_size, proj_size, implementation)
    return _encoder(layers, input_size, proj_size or hidden_size, num_layers, bidirectional, dropout, shortcut, {})


def gru(
    input_size: int,
    hidden_size: int,
    num_layers: int = 1,
    bidirectional: bool = False,
    dropout: float = 0.0,
    proj_size: int = 0,
    shortcut: bool = False,
    implementation: str = "handwritten",
    **extras: Any,
) -> Encoder:
    """Gated recurrent unit (Cho et al. 2014), in torch's variant. It takes no projection."""
    _no_projection(proj_size)

    def layers(size: int, **how: Any) -> nn.Module:
        if implementation == "official":
            return Official(nn.GRU(size, hidden_size, **how))
        return GRU(size, hidden_size, **how, **extras)

    return _encoder(layers, input_size, hidden_size, num_layers, bidirectional, dropout, shortcut, extras)


def custom(
    input_size: int,
    hidden_size: int,
    cell: str,
    num_layers: int = 1,
    bidirectional: bool = False,
    dropout: float = 0.0,
    proj_size: int = 0,
    shortcut: bool = False,
    implementation: str = "handwritten",
    cell_options: dict[str, Any] | None = None,
    **extras: Any,
) -> Encoder:
    """Any cell over time, in layers and directions.

    cell: dotted path of a class derived from `unrolled.nn.cells.Cell`; cell_options: further arguments of that class.
    """
    if implementation != "handwritten":
        raise ValueError(f"implementation={implementation}: torch.nn has no {cell}; choose implementation=handwritten")
    found = get_class(cell)
    if not issubclass(found, Cell):
        raise ValueError(f"cell={cell} is no class derived from unrolled.nn.cells.Cell")
    options = {**(cell_options or {}), **({"proj_size": proj_size} if proj_size else {})}

    def layers(size: int, **how: Any) -> nn.Module:
        return Recurrence(found, size, hidden_size, **how, **extras, **options)

    output_size = found(1, hidden_size, **options).state_sizes[0]
    return _encoder(layers, input_size, output_size, num_layers, bidirectional, dropout, shortcut, extras)


def memoryless(
    input_size: int,
    hidden_size: int,
    num_layers: int = 1,
    bidirectional: bool = False,
    dropout: float = 0.0,
    proj_size: int = 0,
    shortcut: bool = False,
    implementation: str = "handwritten",
) -> Encoder:
    """A linear map of each token: what remains when recurrence is taken away. Only the sizes mean anything."""
    if num_layers != 1 or bidirectional or dropout or proj_size:
        raise ValueError("memoryless is one linear layer: leave num_layers, bidirectional, dropout and proj_size alone")

    def layers(size: int, **how: Any) -> nn.Module:
        return Memoryless(size, hidden_size)

    return _encoder(layers, input_size, hidden_size, 1, False, 0.0, shortcut, {})


def _single_layers(form: type[OneLayerLSTM], hidden_size: int, proj_size: int, implementation: str) -> Layers:
    """A stack of single layers: these forms are one layer each."""
    if implementation != "handwritten":
        raise ValueError(
            f"implementation={implementation}: {form.__name__} is handwritten; torch.nn's LSTM is model=lstm"
        )

    def layers(size: int, num_layers: int = 1, dropout: float = 0.0) -> nn.Module:
        sizes = [size] + [proj_size or hidden_size] * (num_layers - 1)
        return Deep([form(below, hidden_size, proj_size=proj_size) for below in sizes], dropout)

    return layers


def _no_projection(proj_size: int) -> None:
    if proj_size:
        raise ValueError(f"proj_size={proj_size}: only an LSTM has a projection")


def _encoder(
    layers: Layers,
    input_size: int,
    output_size: int,
    num_layers: int,
    bidirectional: bool,
    dropout: float,
    shortcut: bool,
    extras: dict[str, Any],
) -> Encoder:
    """All layers in one recurrence, or with two directions a pair of one-layer recurrences per layer.

    shortcut: each of these recurrences hands on what it reads beside what it makes of it.
    """

    def recurrence(size: int, **how: Any) -> nn.Module:
        return Shortcut(layers(size, **how)) if shortcut else layers(size, **how)

    def width(size: int) -> int:
        return output_size + size if shortcut else output_size

    if not bidirectional:
        how = {"dropout": dropout} if num_layers > 1 else {}
        return Encoder([[recurrence(input_size, num_layers=num_layers, **how)]], width(input_size))
    sweeps, size = [], input_size
    between = extras.pop("layer_dropout", 0.0)
    for layer in range(num_layers):
        if layer:
            extras["input_dropout"] = between  # what stands between layers is the next one's input
        sweeps.append([recurrence(size), recurrence(size)])
        size = 2 * width(size)
    return Encoder(sweeps, size, dropout)
