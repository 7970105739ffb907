"""The equations of one time step, one file per recurrence."""

from unrolled.cells.cell import Cell, State, Weights, affine
from unrolled.cells.gru import GRUCell
from unrolled.cells.layer_norm_gru import LayerNormGRUCell
from unrolled.cells.layer_norm_lstm import LayerNormLSTMCell
from unrolled.cells.lstm import LSTMCell
from unrolled.cells.mgu import MGUCell
from unrolled.cells.rnn import RNNCell

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
