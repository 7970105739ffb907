"""The gated recurrent unit, as torch.nn has it."""

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


class GRU(Recurrence):
    """A gated recurrent unit with the reset gate after the recurrent product.

    x: [B, E], h: [B, H]; W_r, W_z, W_n, each [H, E], are the row blocks of weight_ih [3H, E] in that order, U_r ...
    those of weight_hh [3H, H]; b comes with W, d with U:

        r = sigmoid(W_r x + b_r + U_r h + d_r)
        z = sigmoid(W_z x + b_z + U_z h + d_z)
        q = U_n h + d_n                              the bias d_n is inside what r scales
        n = tanh(W_n x + b_n + r * q)
        h' = (1 - z) * n + z * h

    Backwards:
        da_n = dh' * (1 - z) * (1 - n^2)      da_z = dh' * (h - n) * z (1 - z)      da_r = da_n * q * r (1 - r)
        da = [da_r, da_z, da_n]               reaches W and b
        du = [da_r, da_z, da_n * r]           reaches U and d: both [B, 3H]
        dx = da weight_ih                     dh = dh' * z + du weight_hh

    Source: Cho et al. (2014). Differs from them: they apply the reset gate before the recurrent product, U_n (r * h);
    torch.nn.GRU, and this, after it.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        rng: np.random.Generator,
        dtype: type[np.floating[Any]] = np.float64,
    ) -> None:
        shapes = packed_shapes(3, input_size, hidden_size, hidden_size)
        super().__init__(input_size, hidden_size, shapes, (hidden_size,), rng, dtype)

    def step(self, x: Array, state: State) -> tuple[State, Tape]:
        """x [B, E], (h [B, H],) -> (h' [B, H],) and the tape x, h, r, z, n, q."""
        (h,) = state
        w = self.weights
        a_r, a_z, a_n = np.split(x @ w["weight_ih"].T + w["bias_ih"], 3, axis=-1)
        u_r, u_z, q = np.split(h @ w["weight_hh"].T + w["bias_hh"], 3, axis=-1)
        r, z = sigmoid(a_r + u_r), sigmoid(a_z + u_z)
        n = np.tanh(a_n + r * q)
        return ((1 - z) * n + z * h,), (x, h, r, z, n, q)

    def step_backward(self, d_state: State, tape: Tape, gradients: Weights) -> tuple[Array, State]:
        """(dh' [B, H],) -> dx [B, E], (dh [B, H],)."""
        x, h, r, z, n, q = tape
        (d_h,) = d_state
        d_n = d_h * (1 - z) * (1 - n**2)
        d_z = d_h * (h - n) * z * (1 - z)
        d_r = d_n * q * r * (1 - r)
        d_a = np.concatenate([d_r, d_z, d_n], axis=-1)
        d_u = np.concatenate([d_r, d_z, d_n * r], axis=-1)
        add_product(gradients, "weight_ih", "bias_ih", d_a, x)
        add_product(gradients, "weight_hh", "bias_hh", d_u, h)
        return d_a @ self.weights["weight_ih"], (d_h * z + d_u @ self.weights["weight_hh"],)
