"""The long short-term memory with layer normalisation."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unrolled.nn.cells.cell import State, Weights, affine
from unrolled.nn.cells.lstm import LSTMCell


class LayerNormLSTMCell(LSTMCell):
    """One step of a long short-term memory whose sums are normalised over the features of each row.

    With LN(a) = (a - mean(a)) / std(a), over the last dimension, and gains alpha, learned and first one:

        a = alpha_x * LN(W x) + alpha_h * LN(U h) + b      (B, 4 H), stacked i, f, g, o
        i, f, o = sigmoid(a_i), sigmoid(a_f), sigmoid(a_o);  g = tanh(a_g)
        c' = f * c + i * g                                 (B, H)
        h' = o * tanh(alpha_c * LN(c') + b_c)              (B, H), or projected to (B, P) as in LSTMCell

    Each LN of a sum takes all four gates together. Weights besides those of LSTMCell: gain_ih and gain_hh (4 H,),
    gain_c (H,) and, with bias, shift_c (H,).

    Source: Ba, Kiros & Hinton (2016). Differs from it: one bias for the two normalised sums, written as torch's two.

    Args: as LSTMCell.
    """

    EPS = 1e-5  # added to the variance, as torch.nn.LayerNorm does

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        rows = self.gates * self.hidden_size
        shapes = {**super().weight_shapes(), "gain_ih": (rows,), "gain_hh": (rows,), "gain_c": (self.hidden_size,)}
        return shapes | {"shift_c": (self.hidden_size,)} if self.bias else shapes

    @torch.no_grad()
    def initialise(self, weights: Weights) -> None:
        super().initialise({name: w for name, w in weights.items() if not name.startswith(("gain", "shift"))})
        for name in ("gain_ih", "gain_hh", "gain_c"):
            nn.init.ones_(weights[name])
        if self.bias:
            nn.init.zeros_(weights["shift_c"])

    def from_input(self, x: Tensor, w: Weights) -> Tensor:
        sums = F.linear(x, w["W"]).to(w["gain_ih"].dtype)  # normalised in the weights' precision, also under autocast
        return F.layer_norm(sums, sums.shape[-1:], w["gain_ih"], w.get("b"), self.EPS)

    def step(self, x: Tensor, state: State, w: Weights) -> State:
        h, c = state
        sums = affine(None, h, w["U"])
        i, f, g, o = (x + F.layer_norm(sums, sums.shape[-1:], w["gain_hh"], None, self.EPS)).chunk(4, dim=-1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * F.layer_norm(c, c.shape[-1:], w["gain_c"], w.get("shift_c"), self.EPS).tanh()
        if self.proj_size:
            h = affine(None, h, w["R"])
        return h, c
