"""Training experiments for recurrent text classifiers."""

from unrolled.cells import GRUCell, LSTMCell, RNNCell
from unrolled.encoders import GRU, LSTM, RNN, Recurrence

__all__ = ["GRU", "LSTM", "RNN", "GRUCell", "LSTMCell", "RNNCell", "Recurrence"]
