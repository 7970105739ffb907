"""The long short-term memory with a projected hidden state."""

from typing import Any

import numpy as np

from .lstm import LSTM
from .recurrence import (
    Array,
    Recurrence,
    State,
    Tape,
    Weights,
    add_product,
    packed_shapes,
)


class LSTMP(LSTM):
    """An LSTM whose hidden state is a linear projection of what the output gate shows: h' = W_hr (o * tanh(c')).

    c: [B, H] as before; h and the outputs: [B, P] with P < H; W_hr: [P, H], without bias; weight_hh is [4H, P]. So the
    memory may be wide while the recurrent product and the outputs stay narrow.

    Backwards, with m = o * tanh(c'): [B, H], before the LSTM's own equations, which then start from dm:
        dm = dh' W_hr            dW_hr += dh'^T m

    Source: Sak, Senior & Beaufays (2014). Differs from them: no peepholes, no second, non-recurrent projection.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        proj_size: int,
        rng: np.random.Generator,
        dtype: type[np.floating[Any]] = np.float64,
    ) -> None:
        if not 0 < proj_size < hidden_size:
            raise ValueError(
                f"proj_size must lie between 1 and hidden_size - 1, "
                f"got proj_size={proj_size} with hidden_size={hidden_size}"
            )
        shapes = packed_shapes(4, input_size, hidden_size, proj_size) | {"weight_hr": (proj_size, hidden_size)}
        Recurrence.__init__(self, input_size, hidden_size, shapes, (proj_size, hidden_size), rng, dtype)

    def step(self, x: Array, state: State) -> tuple[State, Tape]:
        """x [B, E], (h [B, P], c [B, H]) -> (h', c') and the LSTM's tape."""
        (m, new_c), tape = super().step(x, state)
        return (m @ self.weights["weight_hr"].T, new_c), tape

    def step_backward(self, d_state: State, tape: Tape, gradients: Weights) -> tuple[Array, State]:
        """(dh' [B, P], dc' [B, H]) -> dx [B, E], (dh [B, P], dc [B, H])."""
        d_h, d_c = d_state
        o, shown = tape[-2:]
        add_product(gradients, "weight_hr", None, d_h, o * shown)
        return super().step_backward((d_h @ self.weights["weight_hr"], d_c), tape, gradients)
