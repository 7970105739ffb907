"""The gated recurrent unit, in torch's variant."""

from typing import ClassVar

import torch
from torch import Tensor

from unrolled.nn.cells.cell import Cell, State, Weights, affine
from unrolled.nn.cells.chrono import check_chrono, chrono_bias


class GRUCell(Cell):
    """One step of a gated recurrent unit.

    With input x: (B, E) and hidden state h: (B, H):

        r = sigmoid(W_r x + b_r + U_r h + d_r)            how much of the past the candidate sees
        z = sigmoid(W_z x + b_z + U_z h + d_z)            how much to keep
        n =    tanh(W_n x + b_n + r * (U_n h + d_n))      what to write
        h' = (1 - z) * n + z * h                          (B, H)

    Gates are stacked in the order r, z, n. b is bias_ih and d is bias_hh: the two differ for n, where r multiplies d_n.

    Source: Cho et al. (2014). Differs from it, as torch.nn.GRU does: the reset gate r is applied after the product
    U_n h, bias inside, where the paper has U_n (r * h). As in the paper, z keeps the past; Chung et al. (2014) swap z
    and 1 - z.

    Args:
        chrono: longest span of the memory in time steps; b_z + d_z starts as log u with u uniform in 1 .. chrono - 1,
            all of it in b_z (Tallec & Ollivier 2018). None: both uniform like all other weights
        (others): see `Cell`

    Raises:
        ValueError: chrono below 2, or without bias
    """

    gates: ClassVar[int] = 3
    mode: ClassVar[str] = "GRU"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        chrono: int | None = None,
        orthogonal: bool = False,
    ) -> None:
        check_chrono(chrono, bias)
        self.chrono = chrono
        super().__init__(input_size, hidden_size, bias, device, dtype, orthogonal=orthogonal)

    @torch.no_grad()
    def initialise(self, weights: Weights) -> None:
        super().initialise(weights)
        if self.chrono is not None:
            keep = slice(self.hidden_size, 2 * self.hidden_size)  # z, the second of r, z, n
            weights["bias_ih"][keep] = chrono_bias(weights["bias_ih"][keep], self.chrono)
            weights["bias_hh"][keep] = 0

    def prepare(self, weights: Weights) -> dict[str, Tensor]:
        w = {**weights, "W": weights["weight_ih"], "U": weights["weight_hh"].t()}
        if self.bias:
            w |= {"b": weights["bias_ih"], "d": weights["bias_hh"]}
        return w

    def from_state(self, h: Tensor, w: Weights) -> Tensor:
        """U h + d: (B, H) -> (B, 3 H)."""
        return affine(w.get("d"), h, w["U"])

    def step(self, x: Tensor, state: State, w: Weights) -> State:
        (h,) = state
        r_x, z_x, n_x = x.chunk(3, dim=-1)
        r_h, z_h, n_h = self.from_state(h, w).chunk(3, dim=-1)
        r = (r_x + r_h).sigmoid()
        z = (z_x + z_h).sigmoid()
        n = (n_x + r * n_h).tanh()
        return (torch.lerp(n, h, z),)  # (1 - z) * n + z * h
