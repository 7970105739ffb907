"""RNN, LSTM and GRU: drop-in equals of torch.nn's, which has them in one rnn.py, too.

Arguments, weights, inputs and outputs are torch.nn's; see `Recurrence`, and `Extras` for what can be given beyond them.
"""

from typing import Any, Unpack

import torch

from unrolled.nn.cells import GRUCell, LSTMCell, RNNCell
from unrolled.nn.cells.rnn import NONLINEARITIES
from unrolled.nn.recurrence import Extras, Recurrence


class RNN(Recurrence):
    """`RNNCell` over time, in layers and directions.

    The fourth argument is the nonlinearity. Besides torch's "tanh" and "relu" there is "identity": memory without
    nonlinearity.

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
        shared = (num_layers, bias, batch_first, dropout, bidirectional, device, dtype)
        super().__init__(RNNCell, input_size, hidden_size, *shared, nonlinearity=nonlinearity, **extras)
        self.mode = f"RNN_{nonlinearity.upper()}"

    def extra_repr(self) -> str:
        return super().extra_repr() + (", nonlinearity=identity" if self.nonlinearity == "identity" else "")


class LSTM(Recurrence):
    """`LSTMCell` over time, in layers and directions.

    With `proj_size` P > 0 it is an LSTMP: h and the outputs have P features, c keeps H. `forget_bias` and `chrono` set
    the gates' first biases, as in the cell.

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
        **extras: Unpack[Extras],
    ) -> None:
        shared = (num_layers, bias, batch_first, dropout, bidirectional, device, dtype)
        options: dict[str, Any] = {"proj_size": proj_size, "forget_bias": forget_bias, "chrono": chrono}
        super().__init__(LSTMCell, input_size, hidden_size, *shared, **options, **extras)


class GRU(Recurrence):
    """`GRUCell` over time, in layers and directions. `chrono` sets the update gate's first bias, as in the cell.

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
        **extras: Unpack[Extras],
    ) -> None:
        if "proj_size" in extras:
            raise ValueError("proj_size is for LSTM only: a GRU has no projection")
        shared = (num_layers, bias, batch_first, dropout, bidirectional, device, dtype)
        super().__init__(GRUCell, input_size, hidden_size, *shared, chrono=chrono, **extras)
