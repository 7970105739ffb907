"""The long short-term memory as textbooks write it: one named matrix and bias per gate."""

import torch
import torch.nn.functional as F
from torch import Tensor

from unrolled.nn.cells.cell import State, Weights, affine
from unrolled.nn.cells.lstm import LSTMCell

GATES = "ifgo"  # the order in which torch.nn.LSTM stacks the gates


class PerGateLSTMCell(LSTMCell):
    """One step of a long short-term memory with the eight matrices of its four gates kept apart.

    With x: (B, E), h: (B, D), c: (B, H), every W_i*: (H, E), W_h*: (H, D), b: (H,); D is P with a projection, else H:

        i = sigmoid(W_ii x + b_ii + W_hi h + b_hi)      how much to write
        f = sigmoid(W_if x + b_if + W_hf h + b_hf)      how much to keep
        g =    tanh(W_ig x + b_ig + W_hg h + b_hg)      what to write
        o = sigmoid(W_io x + b_io + W_ho h + b_ho)      how much to show
        c' = f * c + i * g
        h' = o * tanh(c')                               or W_hr (o * tanh(c')) with W_hr: (P, H)

    torch.nn.LSTM stacks the four W_i* to weight_ih (4 H, E), and so on: one product for four, the same numbers.
    `from_packed` and `to_packed` convert one layer's weights. First values are drawn as torch.nn.LSTM draws them, so
    the same seed gives the same network.

    Source: Hochreiter & Schmidhuber (1997); forget gate from Gers et al. (2000); projection from Sak et al. (2014).
    Differs from them: no peephole connections; two biases, as in torch.nn.LSTM.

    Args: as LSTMCell.
    """

    recurrent_weights = ("w_hi", "w_hf", "w_hg", "w_ho")
    initialise = LSTMCell.initialise_from_packed

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """w_ii ... w_io, w_hi ... w_ho, b_ii ... b_io, b_hi ... b_ho, w_hr."""
        H, D = self.hidden_size, self.state_sizes[0]
        shapes: dict[str, tuple[int, ...]] = {
            f"w_{source}{gate}": (H, width) for source, width in (("i", self.input_size), ("h", D)) for gate in GATES
        }
        if self.bias:
            shapes |= {f"b_{source}{gate}": (H,) for source in "ih" for gate in GATES}
        return shapes | {"w_hr": (D, H)} if self.proj_size else shapes

    def from_packed(self, packed: Weights) -> dict[str, Tensor]:
        """torch.nn.LSTM's weights of one layer split into gates: rows 0 to H - 1 are i, then f, g, o."""
        weights: dict[str, Tensor] = {}
        for source in "ih":
            for kind, letter in (("weight", "w"), ("bias", "b")):
                if f"{kind}_{source}h" in packed:
                    rows = packed[f"{kind}_{source}h"].chunk(4)
                    weights |= {f"{letter}_{source}{gate}": part for gate, part in zip(GATES, rows, strict=True)}
        return weights | ({"w_hr": packed["weight_hr"]} if "weight_hr" in packed else {})

    def to_packed(self, weights: Weights) -> dict[str, Tensor]:
        """The gates stacked: weight_ih (4 H, E), weight_hh (4 H, D), bias_ih and bias_hh (4 H,), weight_hr (P, H)."""
        packed = {}
        for kind, letter in (("weight", "w"), ("bias", "b")):
            for source in "ih":
                if f"{letter}_{source}i" in weights:
                    packed[f"{kind}_{source}h"] = torch.cat([weights[f"{letter}_{source}{gate}"] for gate in GATES])
        return packed | ({"weight_hr": weights["w_hr"]} if "w_hr" in weights else {})

    def prepare(self, weights: Weights) -> dict[str, Tensor]:
        return dict(weights)

    def from_input(self, x: Tensor, w: Weights) -> Tensor:
        """W_i* x + b_i* + b_h* of every gate side by side, of all steps at once: (..., E) -> (..., 4 H)."""
        return torch.cat(
            [F.linear(x, w[f"w_i{g}"], w[f"b_i{g}"] + w[f"b_h{g}"] if self.bias else None) for g in GATES], dim=-1
        )

    def step(self, x: Tensor, state: State, w: Weights) -> State:
        h, c = state
        x_i, x_f, x_g, x_o = x.chunk(4, dim=-1)
        i = torch.sigmoid(affine(x_i, h, w["w_hi"].t()))
        f = torch.sigmoid(affine(x_f, h, w["w_hf"].t()))
        g = torch.tanh(affine(x_g, h, w["w_hg"].t()))
        o = torch.sigmoid(affine(x_o, h, w["w_ho"].t()))
        c = f * c + i * g
        h = o * torch.tanh(c)
        if self.proj_size:
            h = affine(None, h, w["w_hr"].t())
        return h, c
