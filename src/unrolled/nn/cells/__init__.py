"""The equations of one time step, one file per recurrence."""

from unrolled.nn.cells.cell import Cell, State, Weights, affine
from unrolled.nn.cells.gru import GRUCell
from unrolled.nn.cells.layer_norm_gru import LayerNormGRUCell
from unrolled.nn.cells.layer_norm_lstm import LayerNormLSTMCell
from unrolled.nn.cells.lstm import LSTMCell
from unrolled.nn.cells.mgu import MGUCell
from unrolled.nn.cells.per_gate import PerGateLSTMCell
from unrolled.nn.cells.rnn import RNNCell
from unrolled.nn.cells.single_matrix import SingleMatrixLSTMCell

__all__ = [
    "Cell",
    "GRUCell",
    "LSTMCell",
    "LayerNormGRUCell",
    "LayerNormLSTMCell",
    "MGUCell",
    "PerGateLSTMCell",
    "RNNCell",
    "SingleMatrixLSTMCell",
    "State",
    "Weights",
    "affine",
]
