"""The gated recurrent unit with layer normalisation."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unrolled.nn.cells.cell import Weights, affine
from unrolled.nn.cells.gru import GRUCell


class LayerNormGRUCell(GRUCell):
    """One step of a gated recurrent unit whose sums are normalised over the features of each row.

    With LN(a) = (a - mean(a)) / std(a), over the last dimension, and gains alpha, learned and first one:

        r, z = sigmoid(alpha_x * LN(W_rz x) + b_rz + alpha_h * LN(U_rz h) + d_rz)      (B, 2 H), stacked r, z
        n = tanh(alpha_xn * LN(W_n x) + b_n + r * (alpha_hn * LN(U_n h) + d_n))        (B, H)
        h' = (1 - z) * n + z * h                                                       (B, H)

    LN takes r and z together and n apart. Weights besides those of GRUCell: gain_ih and gain_hh (3 H,).

    Source: Ba, Kiros & Hinton (2016), whose reset gate multiplies the normalised product too. Differs from it: biases
    as in torch.nn.GRU, so the candidate has one inside the reset gate as well.
    """

    EPS = 1e-5  # added to the variance, as torch.nn.LayerNorm does

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        rows = self.gates * self.hidden_size
        return {**super().weight_shapes(), "gain_ih": (rows,), "gain_hh": (rows,)}

    @torch.no_grad()
    def initialise(self, weights: Weights) -> None:
        super().initialise({name: w for name, w in weights.items() if not name.startswith("gain")})
        for name in ("gain_ih", "gain_hh"):
            nn.init.ones_(weights[name])

    def from_input(self, x: Tensor, w: Weights) -> Tensor:
        return self._normalise(F.linear(x, w["W"]).to(w["gain_ih"].dtype), w["gain_ih"], w.get("b"))

    def from_state(self, h: Tensor, w: Weights) -> Tensor:
        return self._normalise(affine(None, h, w["U"]), w["gain_hh"], w.get("d"))

    def _normalise(self, sums: Tensor, gain: Tensor, bias: Tensor | None) -> Tensor:
        """LN of r and z together and of n apart, times the gain, plus the bias: (..., 3 H)."""
        rz, n = (2 * self.hidden_size,), (self.hidden_size,)
        parts = zip(sums.split(rz + n, -1), (rz, n), strict=True)
        normal = torch.cat([F.layer_norm(part, size, eps=self.EPS) for part, size in parts], dim=-1)
        return normal * gain if bias is None else torch.addcmul(bias, normal, gain)
