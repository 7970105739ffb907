"""Recurrences over time: the loop, layers, directions, and reading chunk by chunk."""

from unrolled.nn.gru import GRU
from unrolled.nn.lstm import LSTM
from unrolled.nn.recurrence import Recurrence
from unrolled.nn.rnn import RNN

__all__ = ["GRU", "LSTM", "RNN", "Recurrence"]
