"""One time step of the engine `fused` without gradients, as for text that comes token by token: few operations."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from unrolled.nn.cells import State


def one_step(
    kind: str, loops: Any, x: Tensor, state: State, weights: Mapping[str, Tensor], nonlinearity: str
) -> tuple[Tensor, State]:
    """A single time step x (1, B, E) without gradients, in as few operations as can be.

    To lay out the recurrent weights for the loops takes longer than to use them once, so the product is made here; an
    LSTM's loop then gets a recurrence of no width.
    """
    h, U, bias_ih, bias_hh = state[0], weights["weight_hh"], weights.get("bias_ih"), weights.get("bias_hh")
    a = _affine(bias_ih, x[0], weights["weight_ih"])  # (B, G H)
    if kind == "RNN":
        a = _affine(bias_hh, h, U).add_(a)
        y = a.tanh_() if nonlinearity == "tanh" else a.relu_() if nonlinearity == "relu" else a
        return y.unsqueeze(0), (y.clone(),)
    if kind == "GRU":
        H = h.shape[1]
        q = _affine(bias_hh, h, U)
        r, z = q[:, : 2 * H].add_(a[:, : 2 * H]).sigmoid_().chunk(2, dim=1)
        n = a[:, 2 * H :].addcmul_(r, q[:, 2 * H :]).tanh_()
        y = torch.lerp(n, h, z)
        return y.unsqueeze(0), (y.clone(),)
    c, R = state[1].contiguous(), weights.get("weight_hr")
    a = a.addmm_(h, U.t()).unsqueeze(0)
    m, memory = torch.empty_like(c).unsqueeze(0), torch.empty_like(c)
    loops.lstm_forward(a, bias_hh, U[:, :0].contiguous(), None, h[:, :0], c, m, memory.unsqueeze(0), None, False, False)
    y = m[0] if R is None else torch.mm(m[0], R.t())
    return y.unsqueeze(0), (y.clone(), memory)


def _affine(bias: Tensor | None, x: Tensor, weight: Tensor) -> Tensor:
    return torch.mm(x, weight.t()) if bias is None else torch.addmm(bias, x, weight.t())
