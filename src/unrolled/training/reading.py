"""Reading: from the blocks of a step to one vector per row, chunk by chunk.

Both schedules read through here. `documents` hands in all chunks of its documents and a fresh carry; `stream` hands in
one chunk of each slot and the carry of the step before.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from unrolled.data.step import Block
from unrolled.encoders.embedding import Embedding
from unrolled.encoders.encoder import Direction, Encoder
from unrolled.encoders.flip import flip_chunks
from unrolled.training.carry import Carry
from unrolled.training.readout import Readout


@dataclass(frozen=True)
class Reading:
    """How documents are cut in time."""

    exact: bool = False  # let the state's gradient cross chunk boundaries: full BPTT
    recompute: bool = False  # keep the activations of one chunk only and compute the others again in backward
    carry: bool = True  # hand the state on; False starts every chunk afresh (chopping; Johnson & Zhang 2016)

    def start(self, encoder: Encoder, readout: Readout, rows: int, device: torch.device) -> list[list[Carry]]:
        """The carry before the first token, one per direction of each sweep."""
        width = encoder.output_size // len(encoder.sweeps[0])
        last = len(encoder.sweeps) - 1
        return [
            [Carry(state, readout.initial(rows, width, device) if i == last else ()) for state in states]
            for i, states in enumerate(encoder.split(encoder.initial_state(rows)))
        ]

    def read(
        self,
        embedding: Embedding,
        encoder: Encoder,
        readout: Readout,
        blocks: Sequence[Block],
        carries: list[list[Carry]],
    ) -> list[list[Carry]]:
        """Read consecutive chunks of the same rows; what comes back has read them, for every row.

        blocks: rows sorted so that finished ones have left, B_0 >= B_1 >= ...; carries: as `start` or the last `read`
        gave them, B_0 rows. A second direction reads the same tokens from their end and always starts afresh: over
        whole documents its values are exact, over one chunk of a stream they are the chunk's own.
        """
        masks = [None if block.full else block.lengths for block in blocks]
        lengths = _whole(blocks)
        recompute = self.recompute and torch.is_grad_enabled()
        if recompute or not torch.is_grad_enabled():  # one chunk's vectors at a time
            inputs, enter = [block.tokens for block in blocks], embedding
        else:  # all at once: the embedding's gradient is as large as the vocabulary, so it is made once a step
            inputs, enter = _embed(embedding, blocks), _same
        after: list[list[Carry]] = []
        for i, sweep in enumerate(encoder.sweeps):
            outputs: list[list[Tensor]] = []
            after.append([])
            for direction, carry in zip(sweep, carries[i], strict=True):
                backward = bool(after[i])
                if backward:
                    carry = Carry(direction.restart(carry.state, blocks[0].rows), carry.pooled)
                chunks = flip_chunks(inputs, lengths) if backward else inputs
                read = _Sweep(direction, enter, readout, recompute, collect=i + 1 < len(encoder.sweeps))
                given, carry = self._direction(read, chunks, masks, blocks, carry)
                outputs.append(flip_chunks(given, lengths) if backward and given else given)
                after[i].append(carry)
            inputs = [torch.cat(both, dim=-1) for both in zip(*outputs, strict=True)]
            enter = lambda x, i=i: encoder.between(x, i + 1)  # noqa: E731
        return after

    def _direction(
        self,
        read: "_Sweep",
        chunks: list[Tensor],
        masks: list[Tensor | None],
        blocks: Sequence[Block],
        carry: Carry,
    ) -> tuple[list[Tensor], Carry]:
        """One recurrence over its chunks, in its reading order; rows that finish leave at the chunk's end."""
        collected: list[Tensor] = []
        left: list[Carry] = []
        for k, (chunk, block) in enumerate(zip(chunks, blocks, strict=True)):
            if k and block.rows < blocks[k - 1].rows:
                left.insert(0, _rest(carry, block.rows))
                carry = carry.first(block.rows)
            if k and not self.carry:
                carry = Carry(read.direction.restart(carry.state, block.rows), carry.pooled)
            elif k and not self.exact:
                carry = Carry(tuple(s.detach() for s in carry.state), carry.pooled)  # values flow on, gradients stop here
            outputs, carry = read(chunk, block.lengths, masks[k], carry)
            if outputs is not None:
                collected.append(outputs)
        if left:
            carry = Carry(_join([carry.state, *[c.state for c in left]], 1), _join([carry.pooled, *[c.pooled for c in left]], 0))
        return collected, carry


@dataclass(frozen=True)
class _Sweep:
    """How one direction reads one chunk: enter (embed or drop out), recur, pool."""

    direction: Direction
    enter: Callable[[Tensor], Tensor]
    readout: Readout
    recompute: bool
    collect: bool  # outputs are wanted by the next sweep, not by the readout

    def __call__(
        self, chunk: Tensor, lengths: Tensor, mask: Tensor | None, carry: Carry
    ) -> tuple[Tensor | None, Carry]:
        n = len(carry.state)

        def one_chunk(chunk: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
            outputs, state = self.direction(self.enter(chunk), tensors[:n])
            if self.collect:
                return (*state, outputs)
            return (*state, *self.readout.update(tensors[n:], outputs, lengths, full=mask is None))

        flat = (chunk, *carry.state, *carry.pooled)
        # Dropout is replayed: checkpoint restores the generators before it computes a chunk again (Gruslys et al. 2016)
        result = checkpoint(one_chunk, *flat, use_reentrant=False) if self.recompute else one_chunk(*flat)
        if self.collect:
            return result[n], Carry(result[:n], ())
        return None, Carry(result[:n], result[n:])


def readout_value(readout: Readout, carries: list[list[Carry]]) -> Tensor:
    """The documents' vectors so far, (B, size): the last sweep's directions side by side."""
    return torch.cat([readout.value(carry.pooled) for carry in carries[-1]], dim=1)


def _embed(embedding: Embedding, blocks: Sequence[Block]) -> list[Tensor]:
    flat = embedding(torch.cat([block.tokens.reshape(-1) for block in blocks]))
    parts = flat.split([block.tokens.numel() for block in blocks])
    return [part.view(*block.tokens.shape, -1) for part, block in zip(parts, blocks, strict=True)]


def _same(x: Tensor) -> Tensor:
    return x


def _whole(blocks: Sequence[Block]) -> Tensor:
    """(B_0,) tokens of each row over all blocks."""
    lengths = blocks[0].lengths.clone()
    for block in blocks[1:]:
        lengths[: block.rows] += block.lengths
    return lengths


def _rest(carry: Carry, rows: int) -> Carry:
    return Carry(tuple(s[:, rows:] for s in carry.state), tuple(p[rows:] for p in carry.pooled))


def _join(parts: list[tuple[Tensor, ...]], dim: int) -> tuple[Tensor, ...]:
    return tuple(torch.cat(same, dim=dim) for same in zip(*parts, strict=True))
