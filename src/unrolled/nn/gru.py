"""The gated recurrent unit, a drop-in equal of torch.nn.GRU."""

from typing import Unpack

import torch

from unrolled.nn.cells import GRUCell, LayerNormGRUCell
from unrolled.nn.recurrence import Extras, Recurrence


class GRU(Recurrence):
    """`GRUCell` over time, in layers and directions: torch.nn.GRU written by hand.

    Arguments, weights, inputs and outputs are those of torch.nn.GRU; see `Recurrence`.

    Args:
        chrono: longest span of the memory in time steps, which sets the update gate's first bias, as in `GRUCell`
        layer_norm: normalise the gates' sums, as in `LayerNormGRUCell`; it has gains as further weights
        extras: see `Extras`

    Raises:
        ValueError: `proj_size`, which only an LSTM has
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
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        chrono: int | None = None,
        layer_norm: bool = False,
        **extras: Unpack[Extras],
    ) -> None:
        if "proj_size" in extras:
            raise ValueError("proj_size is for LSTM only: a GRU has no projection")
        super().__init__(
            LayerNormGRUCell if layer_norm else GRUCell,
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            device,
            dtype,
            chrono=chrono,
            **extras,
        )
