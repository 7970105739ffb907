"""The network and its parts: cells, recurrences, layers, encoder, pooling, engines."""

from unrolled.nn.recurrence import Recurrence
from unrolled.nn.rnn import GRU, LSTM, RNN

__all__ = ["GRU", "LSTM", "RNN", "Recurrence"]
