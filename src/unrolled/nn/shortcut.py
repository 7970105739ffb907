"""What a recurrence reads, handed on beside what it makes of it."""

import torch
from torch import Tensor, nn

from unrolled.nn.protocol import Reads, State


class Shortcut(nn.Module):
    """A recurrence whose outputs have its inputs beside them: (K, B, D) and (K, B, E) become (K, B, D + E).

    A pooled pooling then sees the words themselves, too, as `memoryless` does, and the recurrence is left to find what
    their order adds. No parameters of its own.

    Source: shortcut connections around recurrent layers, Nie & Bansal (2017).
    """

    recurrence: Reads

    def __init__(self, recurrence: nn.Module) -> None:
        super().__init__()
        assert isinstance(recurrence, Reads), f"{type(recurrence).__name__} cannot be read chunk by chunk"
        self.recurrence = recurrence

    def initial_state(self, batch_size: int) -> State:
        """The recurrence's."""
        return self.recurrence.initial_state(batch_size)

    def draw_masks(self, batch_size: int) -> State:
        """The recurrence's."""
        return self.recurrence.draw_masks(batch_size)

    def redraw(self) -> None:
        """As the recurrence does."""
        self.recurrence.redraw()

    def read(self, x: Tensor, state: State, masks: State = ()) -> tuple[Tensor, State]:
        """One chunk x (K, B, E): outputs (K, B, D + E) and the state after the last step."""
        outputs, state = self.recurrence.read(x, state, masks)
        return torch.cat([outputs, x.to(outputs.dtype)], dim=-1), state
