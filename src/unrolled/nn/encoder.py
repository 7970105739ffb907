"""An encoder: recurrences in sweeps, so that both directions can be read chunk by chunk."""

from collections.abc import Sequence
from itertools import islice
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unrolled.nn.flip import flip_within_length
from unrolled.nn.protocol import Reads, State


class Direction(nn.Module):
    """One recurrence read one way, whose carry is one flat tuple: its state, then its shared dropout masks."""

    recurrence: Reads

    def __init__(self, recurrence: nn.Module) -> None:
        super().__init__()
        assert isinstance(recurrence, Reads), f"{type(recurrence).__name__} cannot be read chunk by chunk"
        self.recurrence = recurrence
        self.state_size = len(recurrence.initial_state(0))

    def initial_state(self, batch_size: int) -> State:
        """State and masks before a document's first token, batch on dimension 1."""
        return (*self.recurrence.initial_state(batch_size), *self.recurrence.draw_masks(batch_size))

    def carried(self) -> int:
        """Tensors in the carry as it is now: masks are drawn in training only."""
        return self.state_size + len(self.recurrence.draw_masks(0))

    def restart(self, state: State, batch_size: int) -> State:
        """The first state again, under the masks that ``state`` carries."""
        return (*self.recurrence.initial_state(batch_size), *state[self.state_size :])

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """One chunk x (K, B, E): outputs (K, B, D) and the carry after it."""
        recurrent, masks = state[: self.state_size], state[self.state_size :]
        outputs, recurrent = self.recurrence.read(x, recurrent, masks)
        return outputs, (*recurrent, *masks)


class Encoder(nn.Module):
    """From embeddings (K, B, E) to outputs (K, B, D), whatever the recurrence and whoever wrote it.

    ``sweeps`` lists what must be read one after the other. One direction is a single sweep of one recurrence with all
    its layers. Two directions are one sweep per layer, each of two one-layer recurrences: the first reads a
    document as it stands, the second flipped within its own length. So the second can be cut into chunks as well,
    from the document's end and with a carry of its own, which keeps its values exact; the alternative of
    handing both directions' final states to the next chunk is wrong.

    Source of the two directions: Schuster & Paliwal (1997).
    """

    def __init__(self, sweeps: Sequence[Sequence[nn.Module]], output_size: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.directions = nn.ModuleList(nn.ModuleList(Direction(r) for r in sweep) for sweep in sweeps)
        self.output_size = output_size  # D
        self.dropout = dropout  # between sweeps; inside a sweep the recurrence has its own
        self.bidirectional = len(sweeps[0]) == 2

    @property
    def sweeps(self) -> list[list[Direction]]:
        """The directions of each sweep, forward first."""
        return [[cast(Direction, d) for d in cast(nn.ModuleList, sweep)] for sweep in self.directions]

    def initial_state(self, batch_size: int) -> State:
        """The carry of every direction of every sweep, flat, batch on dimension 1."""
        return tuple(s for sweep in self.sweeps for direction in sweep for s in direction.initial_state(batch_size))

    def split(self, state: State) -> list[list[State]]:
        """The flat carry as one tuple per direction of each sweep."""
        rest = iter(state)
        return [[tuple(islice(rest, d.carried())) for d in sweep] for sweep in self.sweeps]

    def forward(self, x: Tensor, state: State, lengths: Tensor | None = None) -> tuple[Tensor, State]:
        """Read one chunk of each row and hand on the state.

        x: (K, B, E); lengths: (B,) true steps per row, None where all have K. Returns outputs (K, B, D) and the
        new state. With two directions the second sees this chunk only and starts afresh in each
        (latency-controlled, Zhang et al. 2016); for its exact values read whole documents, sweep by sweep.
        """
        new: list[Tensor] = []
        for i, (sweep, states) in enumerate(zip(self.sweeps, self.split(state), strict=True)):
            x = self.between(x, i)
            outputs, after = sweep[0](x, states[0])
            new.extend(after)
            if len(sweep) == 2:
                backward, _ = sweep[1](flip_within_length(x, lengths), sweep[1].restart(states[1], x.shape[1]))
                new.extend(states[1])
                outputs = torch.cat([outputs, flip_within_length(backward, lengths)], dim=-1)
            x = outputs
        return x, tuple(new)

    def between(self, x: Tensor, sweep: int) -> Tensor:
        """What one sweep hands to the next: dropped out before every sweep but the first."""
        return F.dropout(x, self.dropout, self.training) if sweep and self.dropout else x

    def redraw(self) -> None:
        """Draw anew what a whole training step shares (dropped recurrent weights)."""
        for sweep in self.sweeps:
            for direction in sweep:
                direction.recurrence.redraw()
