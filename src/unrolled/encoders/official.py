"""torch.nn's own recurrences behind the same protocol as the handwritten ones."""

from typing import cast

import torch
from torch import Tensor, nn

from unrolled.encoders.protocol import State


class Official(nn.Module):
    """torch.nn.RNN, LSTM or GRU, in one direction and time first, read chunk by chunk.

    The module is used as it is, dense and never packed: a document that goes on fills its chunk, so the state at the
    chunk's end is exact, and rows that have ended leave.
    """

    def __init__(self, module: nn.RNNBase) -> None:
        super().__init__()
        if module.bidirectional or module.batch_first:
            raise ValueError("Official takes a one-directional module with batch_first=False")
        self.module = module

    def initial_state(self, batch_size: int) -> State:
        module, like = self.module, cast(Tensor, self.module.weight_hh_l0)
        h = like.new_zeros(module.num_layers, batch_size, module.proj_size or module.hidden_size)
        if module.mode != "LSTM":
            return (h,)
        return h, like.new_zeros(module.num_layers, batch_size, module.hidden_size)

    def draw_masks(self, batch_size: int) -> State:
        return ()

    def redraw(self) -> None:
        """Nothing is shared by a step: torch.nn drops elements per time step only."""

    def read(self, x: Tensor, state: State, masks: State = ()) -> tuple[Tensor, State]:
        state = tuple(s.to(torch.get_autocast_dtype(x.device.type)) for s in state) if _autocast(x) else state
        outputs, new = self.module(x, state if self.module.mode == "LSTM" else state[0])
        return outputs, new if isinstance(new, tuple) else (new,)


def _autocast(x: Tensor) -> bool:
    return torch.is_autocast_enabled(x.device.type)
