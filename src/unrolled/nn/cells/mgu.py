"""The minimal gated unit: how small a cell of one's own can be."""

import torch
from torch import Tensor

from unrolled.nn.cells.cell import Cell, State, Weights, affine


class MGUCell(Cell):
    """One step of a minimal gated unit, a GRU whose two gates are one.

    With input x: (B, E) and hidden state h: (B, H):

        f = sigmoid(W_f x + U_f h + b_f)            how much to forget
        n =    tanh(W_n x + U_n (f * h) + b_n)      what to write
        h' = (1 - f) * h + f * n                    (B, H)

    Source: Zhou, Wu, Zhang & Zhou (2016).
    """

    gates = 2  # f, n

    def step(self, x: Tensor, state: State, w: Weights) -> State:
        (h,) = state
        f_x, n_x = x.chunk(2, dim=-1)
        U_f, U_n = w["U"].chunk(2, dim=-1)
        f = affine(f_x, h, U_f).sigmoid()
        n = affine(n_x, f * h, U_n).tanh()
        return (torch.lerp(h, n, f),)  # (1 - f) * h + f * n
