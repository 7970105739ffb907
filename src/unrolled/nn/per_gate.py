"""The LSTM as textbooks write it: one named matrix and bias per gate."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .one_layer_lstm import OneLayerLSTM
from .protocol import State

GATES = "ifgo"  # the order in which torch.nn.LSTM stacks the gates


class PerGateLSTM(OneLayerLSTM):
    """A long short-term memory with the eight matrices of its four gates kept apart.

    With x: (B, E), h: (B, D), c: (B, H), every W_i*: (H, E), W_h*: (H, D), b: (H,); D is P with a projection, else H:

        i = sigmoid(W_ii x + b_ii + W_hi h + b_hi)      how much to write
        f = sigmoid(W_if x + b_if + W_hf h + b_hf)      how much to keep
        g =    tanh(W_ig x + b_ig + W_hg h + b_hg)      what to write
        o = sigmoid(W_io x + b_io + W_ho h + b_ho)      how much to show
        c' = f * c + i * g
        h' = o * tanh(c')                               or W_hr (o * tanh(c')) with W_hr: (P, H)

    torch.nn.LSTM stacks the four W_i* to weight_ih (4H, E), and so on: one product for four, the same numbers.
    `load_packed`, `from_packed` and `to_packed` convert.

    Source: Hochreiter & Schmidhuber (1997); forget gate from Gers et al. (2000); projection from Sak et al. (2014).
    Differs from them: no peephole connections; two biases, as in torch.nn.LSTM.
    """

    w_ii: nn.Parameter
    w_if: nn.Parameter
    w_ig: nn.Parameter
    w_io: nn.Parameter
    w_hi: nn.Parameter
    w_hf: nn.Parameter
    w_hg: nn.Parameter
    w_ho: nn.Parameter
    b_ii: nn.Parameter | None
    b_if: nn.Parameter | None
    b_ig: nn.Parameter | None
    b_io: nn.Parameter | None
    b_hi: nn.Parameter | None
    b_hf: nn.Parameter | None
    b_hg: nn.Parameter | None
    b_ho: nn.Parameter | None
    w_hr: nn.Parameter | None

    def make_parameters(self, device: torch.device | str | None, dtype: torch.dtype | None) -> None:
        """w_ii ... w_io, w_hi ... w_ho, b_ii ... b_io, b_hi ... b_ho, w_hr."""

        def parameter(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.empty(shape, device=device, dtype=dtype))

        H, D = self.hidden_size, self.output_size
        for source, width in (("i", self.input_size), ("h", D)):
            for gate in GATES:
                self.register_parameter(f"w_{source}{gate}", parameter(H, width))
        for source in "ih":
            for gate in GATES:
                self.register_parameter(f"b_{source}{gate}", parameter(H) if self.bias else None)
        self.register_parameter("w_hr", parameter(D, H) if self.proj_size else None)

    def read(self, x: Tensor, state: State, masks: State = ()) -> tuple[Tensor, State]:
        """One chunk x (K, B, E) from the state h (1, B, D), c (1, B, H): outputs (K, B, D) and the state after it."""
        h, c = state[0][0], state[1][0]
        outputs = []
        from_input = zip(
            F.linear(x, self.w_ii, self.b_ii).unbind(0),  # K times (B, H)
            F.linear(x, self.w_if, self.b_if).unbind(0),
            F.linear(x, self.w_ig, self.b_ig).unbind(0),
            F.linear(x, self.w_io, self.b_io).unbind(0),
            strict=True,
        )
        for x_i, x_f, x_g, x_o in from_input:
            i = torch.sigmoid(x_i + F.linear(h, self.w_hi, self.b_hi))
            f = torch.sigmoid(x_f + F.linear(h, self.w_hf, self.b_hf))
            g = torch.tanh(x_g + F.linear(h, self.w_hg, self.b_hg))
            o = torch.sigmoid(x_o + F.linear(h, self.w_ho, self.b_ho))
            c = f * c + i * g
            h = o * torch.tanh(c)
            if self.w_hr is not None:
                h = F.linear(h, self.w_hr)
            outputs.append(h)
        return torch.stack(outputs), (h.unsqueeze(0), c.unsqueeze(0))

    @torch.no_grad()
    def load_packed(self, weights: Mapping[str, Tensor], suffix: str = "_l0") -> None:
        """Cut the stacked matrices into gates: rows 0 to H - 1 are i, then f, g, o."""
        for source in "ih":
            for kind, letter in (("weight", "w"), ("bias", "b")) if self.bias else (("weight", "w"),):
                for gate, rows in zip(GATES, weights[f"{kind}_{source}h{suffix}"].chunk(4), strict=True):
                    self.get_parameter(f"{letter}_{source}{gate}").copy_(rows)
        if self.w_hr is not None:
            self.w_hr.copy_(weights[f"weight_hr{suffix}"])

    @torch.no_grad()
    def to_packed(self, suffix: str = "_l0") -> dict[str, Tensor]:
        """Stack the gates: weight_ih (4H, E), weight_hh (4H, D), bias_ih and bias_hh (4H,), weight_hr (P, H)."""
        packed = {}
        for kind, letter in (("weight", "w"), ("bias", "b")) if self.bias else (("weight", "w"),):
            for source in "ih":
                of_gates: list[Tensor] = [self.get_parameter(f"{letter}_{source}{gate}") for gate in GATES]
                packed[f"{kind}_{source}h{suffix}"] = torch.cat(of_gates)
        if self.w_hr is not None:
            packed[f"weight_hr{suffix}"] = self.w_hr.clone()
        return packed
