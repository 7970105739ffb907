"""The LSTM with one matrix for everything: [x, h] side by side against W_ih and W_hh side by side."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .one_layer_lstm import OneLayerLSTM
from .protocol import State


class SingleMatrixLSTM(OneLayerLSTM):
    """A long short-term memory with a single product per step.

    With x: (B, E), h: (B, D), c: (B, H), W: (4H, E + D), b: (4H,); D is P with a projection, else H:

        i, f, g, o = W [x, h] + b                       gates before their nonlinearity, each (B, H)
        c' = sigmoid(f) * c + sigmoid(i) * tanh(g)
        h' = sigmoid(o) * tanh(c')                      or W_hr (sigmoid(o) * tanh(c')) with W_hr: (P, H)

    W [x, h] = W_ih x + W_hh h, because the columns of W are those of W_ih and W_hh. The numbers are the same;
    two things differ. The product with x, which needs no h, can no longer be taken for all steps at once. And one bias
    does the work of torch's two: with b = b_ih + b_hh the outputs agree, but gradient descent moves the sum of two
    equal biases twice as far as one.

    Source: Hochreiter & Schmidhuber (1997); forget gate from Gers et al. (2000); projection from Sak et al. (2014).
    """

    weight: nn.Parameter
    biases: nn.Parameter | None
    weight_hr: nn.Parameter | None

    def make_parameters(self, device: torch.device | str | None, dtype: torch.dtype | None) -> None:
        """weight (4H, E + D), biases (4H,), weight_hr (P, H)."""

        def parameter(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.empty(shape, device=device, dtype=dtype))

        H, D = self.hidden_size, self.output_size
        self.weight = parameter(4 * H, self.input_size + D)
        self.biases = parameter(4 * H) if self.bias else None
        self.weight_hr = parameter(D, H) if self.proj_size else None

    def read(self, x: Tensor, state: State, masks: State = ()) -> tuple[Tensor, State]:
        """One chunk x (K, B, E) from the state h (1, B, D), c (1, B, H): outputs (K, B, D) and the state after it."""
        h, c = state[0][0], state[1][0]
        outputs = []
        for x_t in x.unbind(0):
            i, f, g, o = F.linear(torch.cat([x_t, h], dim=-1), self.weight, self.biases).chunk(4, dim=-1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
            if self.weight_hr is not None:
                h = F.linear(h, self.weight_hr)
            outputs.append(h)
        return torch.stack(outputs), (h.unsqueeze(0), c.unsqueeze(0))

    @torch.no_grad()
    def load_packed(self, weights: Mapping[str, Tensor], suffix: str = "_l0") -> None:
        """Put weight_ih and weight_hh side by side and add the two biases."""
        self.weight.copy_(torch.cat([weights[f"weight_ih{suffix}"], weights[f"weight_hh{suffix}"]], dim=1))
        if self.biases is not None:
            self.biases.copy_(weights[f"bias_ih{suffix}"] + weights[f"bias_hh{suffix}"])
        if self.weight_hr is not None:
            self.weight_hr.copy_(weights[f"weight_hr{suffix}"])

    @torch.no_grad()
    def to_packed(self, suffix: str = "_l0") -> dict[str, Tensor]:
        """Part the columns again; bias_ih gets the bias, bias_hh zeros."""
        w_ih, w_hh = self.weight.split([self.input_size, self.output_size], dim=1)
        packed = {f"weight_ih{suffix}": w_ih.clone(), f"weight_hh{suffix}": w_hh.clone()}
        if self.biases is not None:
            packed |= {f"bias_ih{suffix}": self.biases.clone(), f"bias_hh{suffix}": torch.zeros_like(self.biases)}
        if self.weight_hr is not None:
            packed[f"weight_hr{suffix}"] = self.weight_hr.clone()
        return packed
