"""From the chunks of a batch to one vector per document: both schedules read through here."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from unrolled.nn.cells import State
from unrolled.nn.flip import flip_index
from unrolled.nn.layer import Layer
from unrolled.nn.network import Network
from unrolled.tbptt.batch import Block
from unrolled.tbptt.carried import CarriedState
from unrolled.tbptt.loop import ChunkLoop, Truncation
from unrolled.tbptt.recompute import Reading, read_without_graph, recomputed


def start(network: Network, rows: int) -> CarriedState:
    """The carried state before the first token of ``rows`` documents."""
    encoder = network.encoder
    return CarriedState(encoder.initial_state(rows), encoder.draw_masks(rows), network.initial_pooled(rows))


def read(network: Network, blocks: Sequence[Block], carried: CarriedState, truncation: Truncation) -> CarriedState:
    """Read consecutive chunks of the same rows; what comes back has read them, for every row.

    blocks: rows sorted so that finished ones have left, B_0 >= B_1 >= ...; carried: as `start` or the last `read` gave
    it, B_0 rows.

    Words are dropped once for all directions; everything else that is dropped at each step is drawn per chunk and
    direction, from a seed of its own, so that a chunk which is computed again drops the same elements.

    With `recompute` memory grows by one state and one set of statistics per chunk, and by the outputs of a layer that a
    layer in two directions reads, and the gradient by them: it starts at the document's end, so all must be there.
    """
    embedding = network.embedding
    keeps = torch.is_grad_enabled() and not truncation.recompute
    flat = embedding.drop_words(torch.cat([block.tokens.flatten() for block in blocks]))  # (N,) ids
    if keeps:  # looked up at once: the gradient is as large as the vocabulary, so it is made once
        flat = embedding.lookup(flat)  # (N, E)
    if network.encoder.bidirectional:
        return _read_layer_by_layer(network, blocks, flat, carried, truncation)
    seed = _seed(network)
    loop = ChunkLoop(network.encoder, embedding, embedding.drop, network.pooling, truncation, seed)
    return _run([Reading(loop, carried)], blocks, flat)[1][0]


def _run(
    readings: Sequence[Reading], blocks: Sequence[Block], flat: Tensor
) -> tuple[Tensor | None, list[CarriedState]]:
    if not torch.is_grad_enabled():
        return read_without_graph(readings, blocks, flat)
    if readings[0].loop.truncation.recompute:
        return recomputed(readings, blocks, flat)
    outputs, after = [], []
    for reading in readings:
        order = reading.order
        given, last = reading.loop(blocks, flat if order is None else flat[order], reading.carried)
        after.append(last)
        if given is not None:
            outputs.append(given if order is None else given[order])
    return torch.cat(outputs, dim=-1) if outputs else None, after


def _seed(network: Network) -> int | None:
    """Of what is dropped at random in one reading; None where nothing is."""
    return int(torch.randint(2**62, ())) if torch.is_grad_enabled() and network.training else None


def _read_layer_by_layer(
    network: Network, blocks: Sequence[Block], flat: Tensor, carried: CarriedState, truncation: Truncation
) -> CarriedState:
    """As `read`, for an encoder with layers in two directions: each layer needs all outputs of the one below.

    A second direction reads the same tokens from their end and always starts afresh: over whole documents its values
    are exact, over one chunk of a stream they are the chunk's own.
    """
    embedding, encoder = network.embedding, network.encoder
    flipped = flip_index([(block.tokens.shape[0], block.rows) for block in blocks], _whole_lengths(blocks))
    masks = encoder.masks_of_layers(carried.masks)
    carried_on: list[CarriedState] = []
    for number, (layer, own, mask) in enumerate(zip(encoder.layers, encoder.split(carried.state), masks, strict=True)):
        drop: Callable[[Tensor], Tensor] = embedding.drop if number == 0 else nn.Identity()
        pooling = network.pooling if number + 1 == len(encoder.layers) else None
        of_directions = network.pooled_of_directions(carried.pooled) if pooling else [()] * len(layer.directions)
        readings = []
        for d, before in enumerate(of_directions):
            one = _LayerDirection(layer, d)
            first = own[: layer.num_states[0]] if d == 0 else one.initial_state(blocks[0].rows)
            begin = CarriedState(first, () if mask is None else (mask,), before)
            loop = ChunkLoop(one, embedding, drop, pooling, truncation, _seed(network))
            readings.append(Reading(loop, begin, flipped if d else None))
        outputs, after = _run(readings, blocks, flat)
        carried_on += after
        if outputs is not None:
            flat = outputs  # (N, D)
    state = tuple(s for each in carried_on for s in each.state)
    return replace(carried, state=state, pooled=tuple(p for each in carried_on for p in each.pooled))


@dataclass(frozen=True)
class _LayerDirection:
    """One direction of one layer, read as an encoder is."""

    layer: Layer
    number: int

    def initial_state(self, batch_size: int) -> State:
        return self.layer.directions[self.number].initial_state(batch_size)

    def __call__(self, x: Tensor, state: State, masks: State) -> tuple[Tensor, State]:
        x = self.layer.drop(x, masks[0] if masks else None)
        outputs, state = self.layer.directions[self.number].read(x, state)
        return self.layer.beside(outputs, x), state

    def parameters(self) -> Iterator[nn.Parameter]:
        return self.layer.recurrences[self.number].parameters()


def _whole_lengths(blocks: Sequence[Block]) -> Tensor:
    """(B_0,) tokens of each row over all blocks."""
    lengths = blocks[0].lengths.clone()
    for block in blocks[1:]:
        lengths[: block.rows] += block.lengths
    return lengths
