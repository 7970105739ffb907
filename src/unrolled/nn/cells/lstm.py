"""The long short-term memory, with and without projection."""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from unrolled.nn.cells.cell import Cell, State, Weights, affine
from unrolled.nn.cells.chrono import check_chrono, chrono_bias


class LSTMCell(Cell):
    """One step of a long short-term memory.

    With input x: (B, E), hidden state h: (B, H) and memory c: (B, H):

        i = sigmoid(W_i x + U_i h + b_i)      how much to write
        f = sigmoid(W_f x + U_f h + b_f)      how much to keep
        g =    tanh(W_g x + U_g h + b_g)      what to write
        o = sigmoid(W_o x + U_o h + b_o)      how much to show
        c' = f * c + i * g                    (B, H)
        h' = o * tanh(c')                     (B, H)

    With `proj_size` P > 0 (LSTMP) the next step and the outside see a shorter h: (B, P), and U is (P, 4 H):

        h' = R (o * tanh(c'))                 (B, P), R is weight_hr: (P, H)

    Gates are stacked in the order i, f, g, o, and each has two biases that are added, as in torch.nn.LSTM: weights
    can be copied over and parameter counts agree.

    Source: Hochreiter & Schmidhuber (1997); forget gate from Gers, Schmidhuber & Cummins (2000); projection from Sak,
    Senior & Beaufays (2014). Differs from them: no peephole connections, no non-recurrent projection.

    Args:
        proj_size: P, or 0 for no projection
        forget_bias: first value of b_f (Gers et al. 2000; Jozefowicz, Zaremba & Sutskever 2015 use 1). b_f is the sum
            of two biases: bias_ih gets the whole value and bias_hh zero. None: both uniform like all other weights
        chrono: longest span of the memory in time steps; b_f starts as log u with u uniform in 1 .. chrono - 1, and b_i
            as -b_f, divided between the two biases as above (Tallec & Ollivier 2018)
        (others): see `Cell`

    Raises:
        ValueError: proj_size outside 0 .. hidden_size - 1, chrono below 2, forget_bias or chrono without bias, or both
    """

    gates: ClassVar[int] = 4
    mode: ClassVar[str] = "LSTM"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        proj_size: int = 0,
        forget_bias: float | None = None,
        chrono: int | None = None,
        orthogonal: bool = False,
    ) -> None:
        if not 0 <= proj_size < hidden_size:
            rule = f"must be smaller than hidden_size={hidden_size} and not negative; 0 is no projection"
            raise ValueError(f"proj_size={proj_size}: {rule}")
        if forget_bias is not None and not bias:
            raise ValueError(f"forget_bias={forget_bias} needs bias=True: without biases there is none to set")
        check_chrono(chrono, bias)
        if forget_bias is not None and chrono is not None:
            raise ValueError(f"forget_bias={forget_bias}: chrono={chrono} sets the same bias; leave one of the two out")
        self.proj_size = proj_size  # the base class asks for weight_shapes
        self.forget_bias = forget_bias
        self.chrono = chrono
        super().__init__(input_size, hidden_size, bias, device, dtype, orthogonal=orthogonal)

    @property
    def state_sizes(self) -> tuple[int, ...]:
        return (self.proj_size or self.hidden_size, self.hidden_size)

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        shapes = super().weight_shapes()
        if self.proj_size:
            shapes["weight_hr"] = (self.proj_size, self.hidden_size)
        return shapes

    @torch.no_grad()
    def initialise(self, weights: Weights) -> None:
        super().initialise(weights)
        if self.forget_bias is not None:
            forget = slice(self.hidden_size, 2 * self.hidden_size)  # the second of i, f, g, o
            weights["bias_ih"][forget] = self.forget_bias
            weights["bias_hh"][forget] = 0
        if self.chrono is not None:
            keep = chrono_bias(weights["bias_ih"][: self.hidden_size], self.chrono)
            weights["bias_ih"][: 2 * self.hidden_size] = torch.cat([-keep, keep])  # i and f
            weights["bias_hh"][: 2 * self.hidden_size] = 0

    @torch.no_grad()
    def initialise_from_packed(self, weights: Weights) -> None:
        """`initialise` for cells with another layout: what is drawn for torch.nn's weights of the same cell."""
        like = next(iter(weights.values()))
        options = {name: getattr(self, name) for name in ("proj_size", "forget_bias", "chrono", "orthogonal")}
        packed = LSTMCell(self.input_size, self.hidden_size, self.bias, like.device, like.dtype, **options)
        for name, value in self.from_packed(packed.weights()).items():
            weights[name].copy_(value)

    def prepare(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        w = super().prepare(weights)
        if self.proj_size:
            w["R"] = weights["weight_hr"].t()  # (H, P)
        return w

    def step(self, x: Tensor, state: State, w: Weights) -> State:
        h, c = state
        i, f, g, o = affine(x, h, w["U"]).chunk(4, dim=-1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        if self.proj_size:
            h = affine(None, h, w["R"])
        return h, c

    def extra_repr(self) -> str:
        return super().extra_repr() + (f", proj_size={self.proj_size}" if self.proj_size else "")
