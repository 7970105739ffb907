"""torch.nn's own recurrences behind the same interface as the handwritten ones."""

from typing import cast

import torch
from torch import Tensor, nn

from unrolled.nn.autocast import autocast_dtype
from unrolled.nn.cells import State


class Official(nn.Module):
    """torch.nn.RNN, LSTM or GRU with one layer and one direction, time first, read chunk by chunk.

    The module is used as it is, dense and never packed: a document that goes on fills its chunk, so the state at the
    chunk's end is exact, and rows that have ended leave.

    orthogonal: number of gates whose recurrent weights start as random orthogonal matrices (Saxe, McClelland & Ganguli
    2014); 0 leaves torch.nn's first values.
    """

    def __init__(self, module: nn.RNNBase, orthogonal: int = 0) -> None:
        super().__init__()
        if module.bidirectional or module.batch_first or module.num_layers != 1:
            raise ValueError("Official takes a module with one layer, one direction and batch_first=False")
        self.module = module
        self.output_size = module.proj_size or module.hidden_size
        if orthogonal:
            for block in cast(Tensor, module.weight_hh_l0).detach().chunk(orthogonal):
                nn.init.orthogonal_(block)

    def initial_state(self, batch_size: int) -> State:
        """Zeros: h (1, B, D), and c (1, B, H) for an LSTM."""
        like = cast(Tensor, self.module.weight_hh_l0)
        h = like.new_zeros(1, batch_size, self.output_size)
        return (h, like.new_zeros(1, batch_size, self.module.hidden_size)) if self.module.mode == "LSTM" else (h,)

    def draw_weight_masks(self) -> None:
        """Nothing to draw: torch.nn drops no weights."""

    def read(self, x: Tensor, state: State) -> tuple[Tensor, State]:
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
