"""The equations of one time step, one file per recurrence."""

from unrolled.cells.cell import Cell, State, Weights, affine
from unrolled.cells.gru import GRUCell
from unrolled.cells.lstm import LSTMCell
from unrolled.cells.rnn import RNNCell

__all__ = ["Cell", "GRUCell", "LSTMCell", "RNNCell", "State", "Weights", "affine"]
