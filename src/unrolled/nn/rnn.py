"""The simple recurrent network, a drop-in equal of torch.nn.RNN."""

from typing import Unpack

import torch

from unrolled.nn.cells import RNNCell
from unrolled.nn.cells.rnn import NONLINEARITIES
from unrolled.nn.recurrence import Extras, Recurrence


class RNN(Recurrence):
    """`RNNCell` over time, in layers and directions: torch.nn.RNN written by hand.

    Arguments, weights, inputs and outputs are those of torch.nn.RNN; see `Recurrence`. Note that the fourth
    argument is the nonlinearity. Besides torch's "tanh" and "relu" there is "identity": memory without nonlinearity.

    Raises:
        ValueError: an unknown nonlinearity, or `proj_size`, which only an LSTM has
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        **extras: Unpack[Extras],
    ) -> None:
        if "proj_size" in extras:
            raise ValueError("proj_size is for LSTM only: an RNN has no projection")
        if nonlinearity not in NONLINEARITIES:
            raise ValueError(f"nonlinearity must be one of {', '.join(NONLINEARITIES)}, got {nonlinearity!r}")
        self.nonlinearity = nonlinearity
        super().__init__(
            RNNCell,
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            device,
            dtype,
            nonlinearity=nonlinearity,
            **extras,
        )
        self.mode = f"RNN_{nonlinearity.upper()}"

    def extra_repr(self) -> str:
        return super().extra_repr() + (", nonlinearity=identity" if self.nonlinearity == "identity" else "")
