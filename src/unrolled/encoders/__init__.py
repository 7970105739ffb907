"""Recurrences over time: the loop, layers, directions, and reading chunk by chunk."""

from unrolled.encoders.gru import GRU
from unrolled.encoders.lstm import LSTM
from unrolled.encoders.recurrence import Recurrence
from unrolled.encoders.rnn import RNN

__all__ = ["GRU", "LSTM", "RNN", "Recurrence"]
