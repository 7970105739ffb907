"""What every recurrence offers to the code that reads documents chunk by chunk."""

from typing import Protocol, runtime_checkable

from torch import Tensor

State = tuple[Tensor, ...]  # batch on dimension 1, as torch.nn has it: (h,) or (h, c)


@runtime_checkable
class Reads(Protocol):
    """A recurrence in one direction that can be read chunk by chunk, time first."""

    def initial_state(self, batch_size: int) -> State:
        """The state before the first token of ``batch_size`` documents."""
        ...

    def draw_masks(self, batch_size: int) -> State:
        """Dropout masks that one document keeps over all its chunks, batch on dimension 1; () where there are none."""
        ...

    def read(self, x: Tensor, state: State, masks: State = ()) -> tuple[Tensor, State]:
        """One chunk x (K, B, E) from ``state``: outputs (K, B, D) and the state after the last step."""
        ...

    def redraw(self) -> None:
        """Draw anew what a whole training step shares, such as dropped recurrent weights."""
        ...
