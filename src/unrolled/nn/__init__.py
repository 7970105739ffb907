"""The network and its parts: cells, recurrences, layers, encoder, pooling, engines."""

from unrolled.nn.gru import GRU
from unrolled.nn.lstm import LSTM
from unrolled.nn.recurrence import Recurrence
from unrolled.nn.rnn import RNN

__all__ = ["GRU", "LSTM", "RNN", "Recurrence"]
