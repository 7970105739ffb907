"""One recurrence reading its documents chunk by chunk, in its own reading order."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from unrolled.nn.embedding import Embedding
from unrolled.nn.encoder import Direction
from unrolled.nn.pooling import Pooling
from unrolled.tbptt.batch import Block
from unrolled.tbptt.carried import CarriedState


@dataclass(frozen=True)
class DirectionReading:
    """What one direction of one sweep does with the blocks of a step."""

    direction: Direction
    embedding: Embedding
    drop: Callable[[Tensor], Tensor]  # dropout of the inputs
    pooling: Pooling | None  # gathers the outputs; None: they are wanted by the next sweep
    blocks: Sequence[Block]
    exact: bool  # see Reading
    carry: bool
    seed: int | None  # of what is dropped; None: nothing is

    def __call__(
        self, flat: Tensor, carry: CarriedState, entering: Callable[[int, CarriedState], None] | None = None
    ) -> tuple[Tensor | None, CarriedState]:
        """All chunks; rows that finish leave at the chunk's end.

        flat: token ids (N,) or vectors (N, E), block after block; entering: is told each chunk's number and the carry
        it begins with. Returns the outputs (N, D), if no pooling gathers them, and the carry of all rows after their
        ends.
        """
        parts = flat.split([block.tokens.numel() for block in self.blocks])  # its backward joins them once
        outputs: list[Tensor] = []
        left: list[CarriedState] = []
        present = self.blocks[0].rows
        for k, (block, part) in enumerate(zip(self.blocks, parts, strict=True)):
            if block.rows < present:
                left.append(carry.rest(block.rows))
                carry = carry.first(block.rows)
                present = block.rows
            if entering is not None:
                entering(k, carry)
            given, carry = self.chunk(k, self.vectors(part, block), carry)
            if given is not None:
                outputs.append(given)
        return torch.cat(outputs) if outputs else None, CarriedState.join([carry, *reversed(left)]) if left else carry

    def vectors(self, part: Tensor, block: Block) -> Tensor:
        """A chunk's input (K * B,) or (K * B, E) as vectors (K, B, E)."""
        x = part if part.is_floating_point() else self.embedding.lookup(part)
        return x.view(*block.tokens.shape, x.shape[-1])  # not -1: one of several devices may have no rows

    def chunk(self, k: int, x: Tensor, carry: CarriedState) -> tuple[Tensor | None, CarriedState]:
        """Chunk ``k`` of vectors x (K, B, E): its outputs (K * B, D), if no pooling gathers them, and the carry."""
        block, state = self.blocks[k], carry.state
        if k and not self.carry:
            state = self.direction.restart(state, block.rows)
        elif k and not self.exact:
            state = tuple(s.detach() for s in state)  # values flow on, gradients stop here
        with _drawing_from(None if self.seed is None else self.seed + k, x.device):
            outputs, new = self.direction(self.drop(x), state)
        if block.pauses:
            reads = (block.lengths > 0).unsqueeze(1)
            new = tuple(torch.where(reads, after, before) for after, before in zip(new, state, strict=True))
        if self.pooling is None:
            return outputs.flatten(0, 1), CarriedState(new, carry.pooled)
        return None, CarriedState(new, self.pooling.update(carry.pooled, outputs, block.lengths, full=block.full))


@contextmanager
def _drawing_from(seed: int | None, device: torch.device) -> Iterator[None]:
    """Random numbers of ``device`` come from ``seed`` in here and go on as before afterwards.

    A seed is 8 bytes where a generator's state on the CPU is 5,056: one is kept for every chunk of a long document.
    """
    if seed is None:
        yield
        return
    generator = torch.default_generator
    if device.type != "cpu":
        generator = torch.get_device_module(device).default_generators[device.index or 0]
    before = generator.get_state()
    generator.manual_seed(seed)
    try:
        yield
    finally:
        generator.set_state(before)
