"""The long short-term memory with one matrix for everything: [x, h] side by side."""

import torch
from torch import Tensor

from unrolled.nn.cells.cell import State, Weights, affine
from unrolled.nn.cells.lstm import LSTMCell


class SingleMatrixLSTMCell(LSTMCell):
    """One step of a long short-term memory with a single product.

    With x: (B, E), h: (B, D), c: (B, H), W: (4 H, E + D), b: (4 H,); D is P with a projection, else H:

        i, f, g, o = W [x, h] + b                       gates before their nonlinearity, each (B, H)
        c' = sigmoid(f) * c + sigmoid(i) * tanh(g)
        h' = sigmoid(o) * tanh(c')                      or W_hr (sigmoid(o) * tanh(c')) with W_hr: (P, H)

    W [x, h] = W_ih x + W_hh h, because the columns of W are those of W_ih and W_hh. The numbers are the same;
    two things differ. The product with x, which needs no h, can no longer be taken for all steps at once. And one bias
    does the work of torch's two: with b = b_ih + b_hh the outputs agree, but gradient descent moves the sum of two
    equal biases twice as far as one. First values are drawn as torch.nn.LSTM draws them.

    Source: Hochreiter & Schmidhuber (1997); forget gate from Gers et al. (2000); projection from Sak et al. (2014).

    Args: as LSTMCell.
    """

    recurrent_weights = ()  # the recurrent part has no matrix of its own
    initialise = LSTMCell.initialise_from_packed

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """weight (4 H, E + D), biases (4 H,), weight_hr (P, H)."""
        H, D = self.hidden_size, self.state_sizes[0]
        shapes: dict[str, tuple[int, ...]] = {"weight": (4 * H, self.input_size + D)}
        if self.bias:
            shapes["biases"] = (4 * H,)
        return shapes | {"weight_hr": (D, H)} if self.proj_size else shapes

    def from_packed(self, packed: Weights) -> dict[str, Tensor]:
        """torch.nn.LSTM's weights of one layer: weight_ih and weight_hh side by side, the two biases added."""
        weights = {"weight": torch.cat([packed["weight_ih"], packed["weight_hh"]], dim=1)}
        if "bias_ih" in packed:
            weights["biases"] = packed["bias_ih"] + packed["bias_hh"]
        return weights | ({"weight_hr": packed["weight_hr"]} if "weight_hr" in packed else {})

    def to_packed(self, weights: Weights) -> dict[str, Tensor]:
        """The columns apart again; bias_ih gets the bias, bias_hh zeros."""
        w_ih, w_hh = weights["weight"].split([self.input_size, self.state_sizes[0]], dim=1)
        packed = {"weight_ih": w_ih, "weight_hh": w_hh}
        if self.bias:
            packed |= {"bias_ih": weights["biases"], "bias_hh": torch.zeros_like(weights["biases"])}
        return packed | ({"weight_hr": weights["weight_hr"]} if self.proj_size else {})

    def prepare(self, weights: Weights) -> dict[str, Tensor]:
        return dict(weights)

    def from_input(self, x: Tensor, w: Weights) -> Tensor:
        """The inputs as they are: their product is made together with that of h."""
        return x

    def step(self, x: Tensor, state: State, w: Weights) -> State:
        h, c = state
        i, f, g, o = affine(w.get("biases"), torch.cat([x.to(h.dtype), h], dim=-1), w["weight"].t()).chunk(4, dim=-1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        if self.proj_size:
            h = affine(None, h, w["weight_hr"].t())
        return h, c
