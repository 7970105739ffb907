"""The long short-term memory."""

from typing import Any

import numpy as np

from .recurrence import (
    Array,
    Recurrence,
    State,
    Tape,
    Weights,
    add_product,
    packed_shapes,
    sigmoid,
)


class LSTM(Recurrence):
    """A long short-term memory cell: hidden state h and memory c.

    x: [B, E], h and c: [B, H]; W_i, W_f, W_g, W_o, each [H, E], are the row blocks of weight_ih [4H, E] in that order,
    U_i ... those of weight_hh [4H, H], b the sum of the two biases:

        i = sigmoid(W_i x + U_i h + b_i)      f = sigmoid(W_f x + U_f h + b_f)
        g =    tanh(W_g x + U_g h + b_g)      o = sigmoid(W_o x + U_o h + b_o)
        c' = f * c + i * g                    h' = o * tanh(c')

    Backwards, from dh' and dc' (what later steps want of the memory):
        dc' += dh' * o * (1 - tanh(c')^2)                 the memory is also read by h'
        da_i = dc' * g * i (1 - i)            da_f = dc' * c * f (1 - f)
        da_g = dc' * i * (1 - g^2)            da_o = dh' * tanh(c') * o (1 - o)
        da = [da_i, da_f, da_g, da_o]: [B, 4H]
        dx = da weight_ih        dh = da weight_hh        dc = dc' * f
        dweight_ih += da^T x     dweight_hh += da^T h     both biases += sum over rows of da

    Along c the gradient is multiplied by f alone, by no matrix: this is why an LSTM remembers longer than an RNN.

    Source: Hochreiter & Schmidhuber (1997); forget gate from Gers, Schmidhuber & Cummins (2000); full gradient
    through time from Graves & Schmidhuber (2005). Differs from them: no peephole connections.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        rng: np.random.Generator,
        dtype: type[np.floating[Any]] = np.float64,
    ) -> None:
        shapes = packed_shapes(4, input_size, hidden_size, hidden_size)
        super().__init__(input_size, hidden_size, shapes, (hidden_size, hidden_size), rng, dtype)

    def step(self, x: Array, state: State) -> tuple[State, Tape]:
        """x [B, E], (h, c) -> (h', c') and the tape x, h, c, i, f, g, o, tanh(c')."""
        h, c = state
        w = self.weights
        a = x @ w["weight_ih"].T + w["bias_ih"] + h @ w["weight_hh"].T + w["bias_hh"]
        a_i, a_f, a_g, a_o = np.split(a, 4, axis=-1)
        i, f, g, o = sigmoid(a_i), sigmoid(a_f), np.tanh(a_g), sigmoid(a_o)
        new_c = f * c + i * g
        shown = np.tanh(new_c)
        return (o * shown, new_c), (x, h, c, i, f, g, o, shown)

    def step_backward(self, d_state: State, tape: Tape, gradients: Weights) -> tuple[Array, State]:
        """(dh', dc') -> dx [B, E], (dh, dc)."""
        x, h, c, i, f, g, o, shown = tape
        d_h, d_c = d_state
        d_c = d_c + d_h * o * (1 - shown**2)
        d_a = np.concatenate(
            [d_c * g * i * (1 - i), d_c * c * f * (1 - f), d_c * i * (1 - g**2), d_h * shown * o * (1 - o)], axis=-1
        )
        add_product(gradients, "weight_ih", "bias_ih", d_a, x)
        add_product(gradients, "weight_hh", "bias_hh", d_a, h)
        return d_a @ self.weights["weight_ih"], (d_a @ self.weights["weight_hh"], d_c * f)
