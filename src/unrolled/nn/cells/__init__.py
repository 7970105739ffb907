"""The equations of one time step, one file per recurrence."""

from unrolled.nn.cells.cell import Cell, State, Weights, affine
from unrolled.nn.cells.gru import GRUCell
from unrolled.nn.cells.layer_norm_gru import LayerNormGRUCell
from unrolled.nn.cells.layer_norm_lstm import LayerNormLSTMCell
from unrolled.nn.cells.lstm import LSTMCell
from unrolled.nn.cells.mgu import MGUCell
from unrolled.nn.cells.rnn import RNNCell

__all__ = [
    "Cell",
    "GRUCell",
    "LSTMCell",
    "LayerNormGRUCell",
    "LayerNormLSTMCell",
    "MGUCell",
    "RNNCell",
    "State",
    "Weights",
    "affine",
]
