"""The loop over the chunks of a batch, with the one place where the gradient is truncated."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor, nn

from unrolled.nn.cells import State
from unrolled.nn.embedding import Embedding
from unrolled.nn.pooling import Pooling
from unrolled.tbptt.batch import Block
from unrolled.tbptt.carried import CarriedState

Entering = Callable[[int, CarriedState], None]


@dataclass(frozen=True)
class Truncation:
    """How documents are read in chunks."""

    exact: bool = False  # let the state's gradient cross chunk boundaries: full BPTT
    recompute: bool = False  # keep the activations of one chunk only and compute the others again in backward
    carry: bool = True  # hand the state on; False starts every chunk afresh (chopping; Johnson & Zhang 2016)


class Readable(Protocol):
    """What is read chunk by chunk: a whole encoder, or one direction of one layer."""

    def initial_state(self, batch_size: int) -> State:
        """The state before a document's first token, batch on dimension 1."""
        ...

    def __call__(self, x: Tensor, state: State, masks: State) -> tuple[Tensor, State]:
        """One chunk x (K, B, E): outputs (K, B, D) and the state after it."""
        ...

    def parameters(self) -> Iterator[nn.Parameter]: ...


@dataclass(frozen=True)
class ChunkLoop:
    """Reads the chunks of a batch in order with one carried state."""

    encoder: Readable
    embedding: Embedding
    drop: Callable[[Tensor], Tensor]  # dropout of the vectors (K, B, E) that come in
    pooling: Pooling | None  # takes in the outputs; None: they are wanted one by one
    truncation: Truncation
    seed: int | None  # of what is dropped at random, so that a chunk computed again drops the same; None: nothing is

    def __call__(
        self,
        blocks: Sequence[Block],
        flat: Tensor,
        carried: CarriedState,
        first: int = 0,
        entering: Entering | None = None,
        order: Tensor | None = None,
    ) -> tuple[Tensor | None, CarriedState]:
        """Read ``blocks``; documents that end leave at their last chunk's end.

        flat: token ids (N,) or their vectors (N, E), block after block; first: which of the batch's chunks the first
        block is; entering: is told each chunk's number and the carried state it begins with; order: (N,) which position
        of ``flat`` is read at each, without a graph only: in one each chunk's gradient would be as large as ``flat``.
        Returns the outputs (N, D), if they are not pooled, and the carried state of all rows after their ends.
        """
        parts = (flat if order is None else order).split([block.tokens.numel() for block in blocks])
        chunks = parts if order is None else (flat[part] for part in parts)  # the backward of `split` joins them once
        outputs: list[Tensor] = []
        ended: list[CarriedState] = []
        rows = blocks[0].rows
        for k, (block, chunk) in enumerate(zip(blocks, chunks, strict=True), start=first):
            if block.rows < rows:  # documents that have ended leave
                ended.append(carried.rest(block.rows))
                carried, rows = carried.first(block.rows), block.rows
            if entering is not None:
                entering(k, carried)
            state = carried.state
            if k and not self.truncation.carry:
                state = self.encoder.initial_state(block.rows)
            elif k and not self.truncation.exact:
                state = tuple(s.detach() for s in state)  # truncated: values flow on, gradients stop here
            with random_numbers_from(None if self.seed is None else self.seed + k, flat.device):
                y, new = self.encoder(self.drop(self.vectors(chunk, block)), state, carried.masks)
            if block.pauses:  # a row that has nothing to read here, and goes on later, keeps its state
                reads = (block.lengths > 0).unsqueeze(1)
                new = tuple(torch.where(reads, after, before) for after, before in zip(new, state, strict=True))
            if self.pooling is None:
                outputs.append(y.flatten(0, 1))
                carried = replace(carried, state=new)
            else:
                pooled = self.pooling.update(carried.pooled, y, block.lengths, block.full)
                carried = replace(carried, state=new, pooled=pooled)
        return torch.cat(outputs) if outputs else None, CarriedState.join([carried, *reversed(ended)])

    def vectors(self, chunk: Tensor, block: Block) -> Tensor:
        """A chunk's ids (K * B,) or vectors (K * B, E) as vectors (K, B, E)."""
        x = chunk if chunk.is_floating_point() else self.embedding.lookup(chunk)
        return x.view(*block.tokens.shape, x.shape[-1])  # not -1: one of several devices may have no rows


@contextmanager
def random_numbers_from(seed: int | None, device: torch.device) -> Iterator[None]:
    """Random numbers of ``device`` come from ``seed`` in here and go on as before afterwards.

    A seed is 8 bytes where a generator's state on the CPU is 5,056: one is kept for every chunk of a long document.
    """
    if seed is None:
        yield
        return
    generator = torch.default_generator
    if device.type == "cuda":
        generator = torch.cuda.default_generators[device.index or 0]
    before = generator.get_state()
    generator.manual_seed(seed)
    try:
        yield
    finally:
        generator.set_state(before)
