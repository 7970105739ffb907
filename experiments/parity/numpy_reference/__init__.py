"""The recurrences in NumPy alone, forward and backward derived by hand: the oracle that shares no code with torch.

    recurrence.py   the loop over time, forwards and backwards, of any recurrence
    rnn.py          RNN (tanh, relu, identity)
    lstm.py         LSTM
    lstmp.py        LSTM with a projected hidden state
    gru.py          GRU, the variant of torch.nn
    stack.py        layers on top of each other
    training.py     backpropagation through time in chunks, a loss, three optimizers

Weights bear the names and shapes of torch.nn (`weight_ih [gates * H, E]`, `weight_hh`, `bias_ih`, `bias_hh`,
`weight_hr`), so either side can be filled from the other. A vector `[E]` and a batch `[B, E]` both work as the input of
one step; a sequence is `[T, E]` or `[T, B, E]`.

Why time goes first: one step reads all rows of the batch at one position. With time first that is `x[t]`, one
contiguous block of memory; with the batch first it would be `x[:, t]`, a strided gather in every step.
"""

from .gru import GRU
from .lstm import LSTM
from .lstmp import LSTMP
from .recurrence import Array, Recurrence, State, Weights
from .rnn import RNN
from .stack import Stack
from .training import (
    SGD,
    Adagrad,
    Adam,
    Tagger,
    backward_in_chunks,
    forward_in_chunks,
    softmax_cross_entropy,
    train,
)

__all__ = [
    "GRU",
    "LSTM",
    "LSTMP",
    "RNN",
    "SGD",
    "Adagrad",
    "Adam",
    "Array",
    "Recurrence",
    "Stack",
    "State",
    "Tagger",
    "Weights",
    "backward_in_chunks",
    "forward_in_chunks",
    "softmax_cross_entropy",
    "train",
]
