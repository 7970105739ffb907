"""Reading: from the blocks of a step to one vector per row, chunk by chunk.

Both schedules read through here. `documents` hands in all chunks of its documents and a fresh carry; `stream` hands in
the next chunk of each slot and the carry of the step before.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from unrolled.nn.embedding import Embedding
from unrolled.nn.encoder import Encoder
from unrolled.nn.flip import flip_index
from unrolled.nn.pooling import Pooling
from unrolled.tbptt.batch import Block
from unrolled.tbptt.carried import CarriedState
from unrolled.tbptt.direction import DirectionReading
from unrolled.tbptt.recompute import recomputed


@dataclass(frozen=True)
class Reading:
    """How documents are cut in time."""

    exact: bool = False  # let the state's gradient cross chunk boundaries: full BPTT
    recompute: bool = False  # keep the activations of one chunk only and compute the others again in backward
    carry: bool = True  # hand the state on; False starts every chunk afresh (chopping; Johnson & Zhang 2016)

    def start(self, encoder: Encoder, pooling: Pooling, rows: int, device: torch.device) -> list[list[CarriedState]]:
        """The carry before the first token, one per direction of each sweep."""
        width = encoder.output_size // len(encoder.sweeps[0])
        last = len(encoder.sweeps) - 1
        return [
            [CarriedState(state, pooling.initial(rows, width, device) if i == last else ()) for state in states]
            for i, states in enumerate(encoder.split(encoder.initial_state(rows)))
        ]

    def read(
        self,
        embedding: Embedding,
        encoder: Encoder,
        pooling: Pooling,
        blocks: Sequence[Block],
        carries: list[list[CarriedState]],
    ) -> list[list[CarriedState]]:
        """Read consecutive chunks of the same rows; what comes back has read them, for every row.

        blocks: rows sorted so that finished ones have left, B_0 >= B_1 >= ...; carries: as `start` or the last `read`
        gave them, B_0 rows. A second direction reads the same tokens from their end and always starts afresh: over
        whole documents its values are exact, over one chunk of a stream they are the chunk's own.

        Words are dropped once for all directions; everything else that is dropped at random is drawn per chunk and
        direction, from a seed of its own, so that a chunk which is computed again drops the same elements.

        With `recompute` memory grows by one state and one set of statistics per chunk, and with the outputs of a layer
        that a layer in two directions reads: it starts at the document's end, so all of them must be there.
        """
        grad = torch.is_grad_enabled()
        flat = embedding.drop_words(_joined([block.tokens.flatten() for block in blocks]))  # (N,) ids
        if grad and not self.recompute:  # all at once: the gradient is as large as the vocabulary, so it is made once
            flat = embedding.lookup(flat)  # (N, E)
        shapes = [(block.tokens.shape[0], block.rows) for block in blocks]
        turned = flip_index(shapes, _whole(blocks)) if encoder.bidirectional else None
        after: list[list[CarriedState]] = []
        for i, sweep in enumerate(encoder.sweeps):
            outputs: list[Tensor] = []
            after.append([])
            for direction, carry in zip(sweep, carries[i], strict=True):
                backward = bool(after[i])
                if backward:
                    carry = CarriedState(direction.restart(carry.state, blocks[0].rows), carry.pooled)
                one = DirectionReading(
                    direction=direction,
                    embedding=embedding,
                    drop=embedding.drop if i == 0 else partial(encoder.between, sweep=i),
                    pooling=pooling if i + 1 == len(encoder.sweeps) else None,
                    blocks=blocks,
                    exact=self.exact,
                    carry=self.carry,
                    seed=int(torch.randint(2**62, ())) if grad and direction.training else None,
                )
                read = recomputed if grad and self.recompute else DirectionReading.__call__
                given, carry = read(one, flat[turned] if backward else flat, carry)
                after[i].append(carry)
                if given is not None:
                    outputs.append(given[turned] if backward else given)
            if outputs:
                flat = torch.cat(outputs, dim=-1)  # (N, D)
        return after


def pooled_value(pooling: Pooling, carries: list[list[CarriedState]]) -> Tensor:
    """The documents' vectors so far, (B, size): the last sweep's directions side by side."""
    return torch.cat([pooling.value(carry.pooled) for carry in carries[-1]], dim=1)


def _joined(parts: list[Tensor]) -> Tensor:
    return torch.cat(parts) if len(parts) > 1 else parts[0]


def _whole(blocks: Sequence[Block]) -> Tensor:
    """(B_0,) tokens of each row over all blocks."""
    lengths = blocks[0].lengths.clone()
    for block in blocks[1:]:
        lengths[: block.rows] += block.lengths
    return lengths
