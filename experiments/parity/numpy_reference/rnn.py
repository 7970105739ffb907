"""The simple recurrent network."""

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
)


class RNN(Recurrence):
    """h' = phi(W_ih x + b_ih + W_hh h + b_hh), with phi one of tanh, relu, identity.

    x: [B, E], h and h': [B, H], W_ih: [H, E], W_hh: [H, H], biases [H].

    Backwards, with a the argument of phi:
        da   = dh' * phi'(a)          tanh: 1 - h'^2;  relu: 1 where h' > 0, else 0;  identity: 1
        dx   = da W_ih                dh   = da W_hh
        dW_ih += da^T x               dW_hh += da^T h               db_ih, db_hh += sum over rows of da

    Source: Elman (1990). Differs from it: two biases, as in torch.nn.RNN.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        rng: np.random.Generator,
        nonlinearity: str = "tanh",
        dtype: type[np.floating[Any]] = np.float64,
    ) -> None:
        if nonlinearity not in ("tanh", "relu", "identity"):
            raise ValueError(f"nonlinearity must be tanh, relu or identity, got {nonlinearity!r}")
        self.nonlinearity = nonlinearity
        shapes = packed_shapes(1, input_size, hidden_size, hidden_size)
        super().__init__(input_size, hidden_size, shapes, (hidden_size,), rng, dtype)

    def step(self, x: Array, state: State) -> tuple[State, Tape]:
        """x [B, E], (h [B, H],) -> (h' [B, H],) and the tape x, h, h'."""
        (h,) = state
        w = self.weights
        a = x @ w["weight_ih"].T + w["bias_ih"] + h @ w["weight_hh"].T + w["bias_hh"]
        new = np.tanh(a) if self.nonlinearity == "tanh" else np.maximum(a, 0) if self.nonlinearity == "relu" else a
        return (new,), (x, h, new)

    def step_backward(self, d_state: State, tape: Tape, gradients: Weights) -> tuple[Array, State]:
        """(dh' [B, H],) -> dx [B, E], (dh [B, H],)."""
        x, h, new = tape
        d_a = d_state[0]
        if self.nonlinearity == "tanh":
            d_a = d_a * (1 - new**2)
        elif self.nonlinearity == "relu":
            d_a = d_a * (new > 0)
        add_product(gradients, "weight_ih", "bias_ih", d_a, x)
        add_product(gradients, "weight_hh", "bias_hh", d_a, h)
        return d_a @ self.weights["weight_ih"], (d_a @ self.weights["weight_hh"],)
