"""The long short-term memory, a drop-in equal of torch.nn.LSTM."""

from typing import Unpack

import torch

from unrolled.nn.cells import LayerNormLSTMCell, LSTMCell
from unrolled.nn.recurrence import Extras, Recurrence


class LSTM(Recurrence):
    """`LSTMCell` over time, in layers and directions: torch.nn.LSTM written by hand.

    Arguments, weights, inputs and outputs are those of torch.nn.LSTM; see `Recurrence`. With `proj_size` P > 0 it is
    an LSTMP: h and the outputs have P features, c keeps H.

    Args:
        chrono: longest span of the memory in time steps, which sets the gates' first biases, as in `LSTMCell`
        forget_bias: first value of the forget gate's bias, as in `LSTMCell`; None: uniform like all weights
        layer_norm: normalise the gates' sums and c, as in `LayerNormLSTMCell`; it has gains as further weights
        extras: see `Extras`

    Raises:
        ValueError: proj_size outside 0 .. hidden_size - 1
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        forget_bias: float | None = None,
        chrono: int | None = None,
        layer_norm: bool = False,
        **extras: Unpack[Extras],
    ) -> None:
        super().__init__(
            LayerNormLSTMCell if layer_norm else LSTMCell,
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            device,
            dtype,
            proj_size=proj_size,
            forget_bias=forget_bias,
            chrono=chrono,
            **extras,
        )
