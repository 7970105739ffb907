"""The simple recurrent network."""

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor

from unrolled.nn.cells.cell import Cell, State, Weights, affine


def _identity(x: Tensor) -> Tensor:
    return x


NONLINEARITIES: dict[str, Callable[[Tensor], Tensor]] = {"tanh": torch.tanh, "relu": torch.relu, "identity": _identity}


class RNNCell(Cell):
    """One step of a simple recurrent network.

    With input x: (B, E) and hidden state h: (B, H):

        h' = tanh(W x + U h + b)      (B, H)

    or with relu, or with nothing (`identity`: memory without nonlinearity, so the state is a weighted sum of all
    inputs so far), in place of tanh. b is the sum of two biases, as in torch.nn.RNN.

    Source: Elman (1990). Differs from it: tanh instead of the logistic function.

    Args:
        nonlinearity: "tanh", "relu" or "identity"; the first two are torch.nn's
        (others): see `Cell`

    Raises:
        RuntimeError: another nonlinearity, as in torch.nn.RNNCell
    """

    gates: ClassVar[int] = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        orthogonal: bool = False,
    ) -> None:
        if nonlinearity not in NONLINEARITIES:
            raise RuntimeError(f"nonlinearity={nonlinearity}: must be one of {', '.join(NONLINEARITIES)}")
        super().__init__(input_size, hidden_size, bias, device, dtype, orthogonal=orthogonal)
        self.nonlinearity = nonlinearity

    def step(self, x: Tensor, state: State, w: Weights) -> State:
        (h,) = state
        return (NONLINEARITIES[self.nonlinearity](affine(x, h, w["U"])),)

    def extra_repr(self) -> str:
        return super().extra_repr() + ("" if self.nonlinearity == "tanh" else f", nonlinearity={self.nonlinearity}")
