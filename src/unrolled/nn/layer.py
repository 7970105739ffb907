"""One layer of an encoder: a recurrence in one direction or two."""

from collections.abc import Sequence
from typing import Protocol, cast, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unrolled.nn.cells import State
from unrolled.nn.dropout import dropout


@runtime_checkable
class OneDirection(Protocol):
    """A recurrence with one layer and one direction that reads documents chunk by chunk, time first."""

    output_size: int  # features of the outputs

    def initial_state(self, batch_size: int) -> State:
        """The state before the first token: (1, B, S) each."""
        ...

    def read(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """One chunk x (K, B, E) from ``state``: outputs (K, B, D) and the state after the last step."""
        ...

    def draw_weight_masks(self) -> None:
        """Drop other weights from now on, where weights are dropped at all: called once per optimizer step."""
        ...


class Layer(nn.Module):
    """One recurrence in one direction or two, handwritten or torch.nn's, and what is dropped before it.

    The first direction reads a document as it stands, the second, if there is one, flipped within its own length; their
    outputs stand side by side (Schuster & Paliwal 1997). So the second can be cut into chunks as well, from the
    document's end and with a state of its own, which keeps its values exact. Handing both directions' final states to
    the next chunk, which torch.nn's `hx` invites to, would be wrong.

    directions: one or two recurrences of one kind; input_size: E; dropout: share of the inputs' elements zeroed in
    training, drawn at each step; shared_dropout: share of the input's features zeroed in training, the same ones at all
    steps of a document (variational dropout; Gal & Ghahramani 2016); shortcut: each direction's outputs have its inputs
    beside them, so that what reads this layer sees the words themselves, too (shortcut connections; Nie & Bansal 2017).

    Raises TypeError for something that is no `OneDirection`.
    """

    def __init__(
        self,
        directions: Sequence[nn.Module],
        input_size: int,
        dropout: float = 0.0,
        shared_dropout: float = 0.0,
        shortcut: bool = False,
    ) -> None:
        super().__init__()
        for direction in directions:
            if not isinstance(direction, OneDirection):
                raise TypeError(f"{type(direction).__name__} cannot be read chunk by chunk: see OneDirection")
        self.recurrences = nn.ModuleList(directions)
        self.input_size = input_size
        self.dropout = dropout
        self.shared_dropout = shared_dropout
        self.shortcut = shortcut
        self.direction_size = self.directions[0].output_size + (input_size if shortcut else 0)
        self.output_size = len(directions) * self.direction_size  # D
        self.num_states = [len(direction.initial_state(0)) for direction in self.directions]  # tensors of each

    @property
    def directions(self) -> list[OneDirection]:
        """The recurrences, the forward one first."""
        return [cast(OneDirection, recurrence) for recurrence in self.recurrences]

    def initial_state(self, batch_size: int) -> State:
        """The state before the first token, of one direction after the other, batch on dimension 1."""
        return tuple(s for direction in self.directions for s in direction.initial_state(batch_size))

    def draw_mask(self, batch_size: int) -> Tensor:
        """What `shared_dropout` drops of each document: (1, B, E), 0 or 1 / (1 - rate)."""
        like = next(self.parameters())
        return F.dropout(
            torch.ones(1, batch_size, self.input_size, dtype=like.dtype, device=like.device), self.shared_dropout
        )

    def drop(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """The inputs (K, B, E) without what is dropped; mask: of these documents, None where none is shared."""
        x = x if mask is None else x * mask
        return dropout(x, self.dropout, self.training)

    def beside(self, outputs: Tensor, x: Tensor) -> Tensor:
        """With a shortcut, a direction's outputs (K, B, H) and its inputs (K, B, E) side by side."""
        return torch.cat([outputs, x.to(outputs.dtype)], dim=-1) if self.shortcut else outputs

    def forward(self, x: Tensor, state: State, mask: Tensor | None = None) -> tuple[Tensor, State]:
        """Read one chunk: x (K, B, E), of which every row has K steps, to outputs (K, B, D) and the state after it.

        The second direction sees this chunk only and starts afresh in each (latency-controlled, Zhang et al. 2016); its
        exact values need whole documents: `tbptt`.
        """
        x = self.drop(x, mask)
        outputs, new = self.directions[0].read(x, state[: self.num_states[0]])
        outputs = self.beside(outputs, x)
        if len(self.recurrences) == 1:
            return outputs, new
        flipped = x.flip(0)
        backward, _ = self.directions[1].read(flipped, self.directions[1].initial_state(x.shape[1]))
        backward = self.beside(backward, flipped).flip(0)
        return torch.cat([outputs, backward], dim=-1), (*new, *state[self.num_states[0] :])
