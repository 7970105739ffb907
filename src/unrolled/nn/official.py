"""torch.nn's own recurrences behind the same protocol as the handwritten ones."""

from typing import cast

import torch
from torch import Tensor, nn

from unrolled.nn.autocast import autocast_dtype
from unrolled.nn.protocol import State


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
        """One chunk x (K, B, E) from ``state``: outputs (K, B, D) and the state after it, in the weights' precision.

        Under autocast on a CPU the module is read in the precision of its weights: its kernels there keep the cell
        state in the lower precision, and without oneDNN's bfloat16 LSTM they raise. On a GPU cuDNN reads the chunk in
        the lower precision; what is handed to the next chunk is float32 again.
        """
        weights, device = cast(Tensor, self.module.weight_hh_l0).dtype, x.device.type
        lower = None if device == "cpu" else autocast_dtype(device)
        kept = weights if lower is None else lower
        first = tuple(s.to(kept).contiguous() for s in state)
        with torch.autocast(device, enabled=lower is not None):
            outputs, new = self.module(x.to(kept), first if self.module.mode == "LSTM" else first[0])
        return outputs, tuple(s.to(weights) for s in (new if isinstance(new, tuple) else (new,)))
