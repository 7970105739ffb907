"""Deep and bidirectional networks composed of single layers and single directions.

torch.nn, and our own classes after it, offer `num_layers` and `bidirectional` as switches. Here the same networks are
put together from parts, so that one can see what the switches do and can build what they do not offer.
"""

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .flip import flip_within_length
from .official import Official
from .one_layer_lstm import OneLayerLSTM
from .protocol import Reads, State


def recurrence(module: nn.Module) -> Reads:
    """The module itself if it can be read chunk by chunk, a module of torch.nn behind the adapter that makes it so.

    Raises TypeError for anything else, ValueError for a recurrence whose own switches are set to two directions or to
    batch_first.
    """
    for switch in ("bidirectional", "batch_first"):
        if getattr(module, switch, False):
            raise ValueError(f"networks are composed of one-directional, time-first layers, got {switch}=True")
    if isinstance(module, Reads):
        return module
    if isinstance(module, nn.RNNBase):
        return Official(module)
    raise TypeError(f"a layer must be a recurrence of unrolled or of torch.nn, got {type(module).__name__}")


def read_rows(layer: Reads, x: Tensor, state: State, lengths: Tensor | None, masks: State = ()) -> tuple[Tensor, State]:
    """Read rows of unequal lengths, each to its own end, without packing.

    x: (T, B, E); lengths: (B,) from 0 to T in any order, None where all are T. Whenever a row ends, the others are read
    on without it: no padding is ever read, so the state (., B, H) returned for a row is that after its last true step.
    Outputs (T, B, D) are zero past a row's end, as torch.nn.utils.rnn.pad_packed_sequence leaves them.
    """
    if lengths is None:
        return layer.read(x, state, masks)
    steps, batch_size = x.shape[:2]
    outputs = []
    start = 0
    for end in sorted({*lengths.tolist(), steps} - {0}):
        rows = (lengths >= end).nonzero().squeeze(1).to(x.device)
        going = tuple(s.index_select(1, rows) for s in state)
        read, going = layer.read(x[start:end, rows], going, tuple(m.index_select(1, rows) for m in masks))
        state = tuple(s.index_copy(1, rows, g) for s, g in zip(state, going, strict=True))
        outputs.append(read.new_zeros(end - start, batch_size, read.shape[-1]).index_copy(1, rows, read))
        start = end
    return torch.cat(outputs), state


class Bidirectional(nn.Module):
    """Two recurrences over the same documents, one from the start and one from the end.

    The second reads each document flipped within its own length, and its outputs are flipped back: at position t the
    first has read tokens 0 to t, the second tokens t to the end. Outputs are put side by side.

    forwards, backwards: one-directional single layers of the same kind, ours or torch.nn's.

    Source: Schuster & Paliwal (1997).
    """

    forwards: Reads
    backwards: Reads

    def __init__(self, forwards: nn.Module, backwards: nn.Module) -> None:
        super().__init__()
        self.forwards, self.backwards = recurrence(forwards), recurrence(backwards)
        for direction in (self.forwards, self.backwards):
            if any(len(s) != 1 for s in direction.initial_state(0)):
                raise ValueError(
                    "each direction must be a single layer, which the next reads together with the other direction; "
                    f"got {len(direction.initial_state(0)[0])} layers: compose them with Deep"
                )

    def initial_state(self, batch_size: int) -> State:
        """Per part of the state (2, B, size): forwards, then backwards, as torch.nn orders them."""
        return join([self.forwards.initial_state(batch_size), self.backwards.initial_state(batch_size)])

    def draw_masks(self, batch_size: int) -> State:
        """The masks of the first, then of the second."""
        return (*self.forwards.draw_masks(batch_size), *self.backwards.draw_masks(batch_size))

    def redraw(self) -> None:
        """Draw anew what a training step shares, in both directions."""
        self.forwards.redraw()
        self.backwards.redraw()

    def read(self, x: Tensor, state: State, masks: State = ()) -> tuple[Tensor, State]:
        """Refused: the second direction starts at a document's end, which most chunks do not have."""
        raise ValueError(
            "a bidirectional network cannot hand its state to the next chunk: give it whole documents, or use Encoder, "
            "which reads the backward direction from the document's end"
        )

    def forward(
        self, x: Tensor, state: State | None = None, lengths: Tensor | None = None, masks: State | None = None
    ) -> tuple[Tensor, State]:
        """Whole documents x (T, B, E), true lengths (B,): outputs (T, B, 2D), zero past the ends, and the states
        (2, B, size) after each document's last token forwards and its first token backwards.

        Without masks, new ones are drawn, and what a training step shares as well.
        """
        if masks is None:
            self.redraw()
            masks = self.draw_masks(x.shape[1])
        state = self.initial_state(x.shape[1]) if state is None else state
        first, second = deal(masks, [self.forwards, self.backwards])
        ahead, last = read_rows(self.forwards, x, tuple(s[:1] for s in state), lengths, first)
        flipped = flip_within_length(x, lengths)
        back, earliest = read_rows(self.backwards, flipped, tuple(s[1:] for s in state), lengths, second)
        return torch.cat([ahead, flip_within_length(back, lengths)], dim=-1), join([last, earliest])


class Deep(nn.Module):
    """Layers on top of each other: each reads the outputs of the one below, with dropout between them.

    layers: single layers of one kind and one hidden size, ours or torch.nn's, or `Bidirectional` ones; the first reads
    E values, each further one what the layer below puts out. dropout: share of elements set to zero between layers in
    training; none after the last. The state has the layers on dimension 0: (L, B, size), two directions (2L, B, size).

    Without `Bidirectional` layers it can be read chunk by chunk, like a recurrence with num_layers.

    Raises ValueError for no layers, for a dropout outside 0 to 1, and for states of different widths.
    """

    def __init__(self, layers: Sequence[nn.Module], dropout: float = 0.0) -> None:
        super().__init__()
        if not layers:
            raise ValueError("a deep network needs at least one layer, got none")
        if not 0 <= dropout <= 1:
            raise ValueError(f"dropout must lie between 0 and 1, got {dropout}")
        readable: list[Any] = [recurrence(layer) for layer in layers]
        self.layers = nn.ModuleList(readable)
        self.dropout = dropout
        shapes = [[tuple(s.shape) for s in layer.initial_state(0)] for layer in self.each()]
        if any(shape != shapes[0] for shape in shapes):
            raise ValueError(f"layers must have states of one shape, got {shapes}")
        self.rows_per_layer = shapes[0][0][0] if shapes[0] else 0  # of the state's dimension 0

    def each(self) -> list[Reads]:
        """The layers, as what they are read by."""
        return [cast(Reads, layer) for layer in self.layers]

    def initial_state(self, batch_size: int) -> State:
        """The layers' first states, layer by layer on dimension 0."""
        return join([layer.initial_state(batch_size) for layer in self.each()])

    def draw_masks(self, batch_size: int) -> State:
        """The layers' masks, layer by layer."""
        return tuple(mask for layer in self.each() for mask in layer.draw_masks(batch_size))

    def redraw(self) -> None:
        """Draw anew what a training step shares, in every layer."""
        for layer in self.each():
            layer.redraw()

    def read(self, x: Tensor, state: State, masks: State = ()) -> tuple[Tensor, State]:
        """One chunk x (K, B, E) from the state (L, B, size): outputs (K, B, D) and the state after it."""
        return self.climb(x, state, None, masks, chunk=True)

    def forward(
        self, x: Tensor, state: State | None = None, lengths: Tensor | None = None, masks: State | None = None
    ) -> tuple[Tensor, State]:
        """Whole documents x (T, B, E), true lengths (B,): outputs (T, B, D), zero past the ends, and the last states.

        Without masks, new ones are drawn, and what a training step shares as well.
        """
        if masks is None:
            self.redraw()
            masks = self.draw_masks(x.shape[1])
        return self.climb(x, self.initial_state(x.shape[1]) if state is None else state, lengths, masks, chunk=False)

    def climb(self, x: Tensor, state: State, lengths: Tensor | None, masks: State, chunk: bool) -> tuple[Tensor, State]:
        """From the bottom layer to the top, each over all positions."""
        states = []
        for k, (layer, own_masks) in enumerate(zip(self.each(), deal(masks, self.each()), strict=True)):
            if k:
                x = F.dropout(x, self.dropout, self.training)
            own = tuple(s[k * self.rows_per_layer : (k + 1) * self.rows_per_layer] for s in state)
            if chunk:
                x, own = layer.read(x, own, own_masks)
            elif isinstance(layer, Bidirectional):
                x, own = layer(x, own, lengths, own_masks)
            else:
                x, own = read_rows(layer, x, own, lengths, own_masks)
            states.append(own)
        return x, join(states)


def join(states: Sequence[State]) -> State:
    """States of several layers or directions, one after the other on dimension 0."""
    return tuple(torch.cat(parts) for parts in zip(*states, strict=True))


def deal(masks: State, layers: Sequence[Reads]) -> list[State]:
    """Each layer's own masks out of all of them, as `draw_masks` put them together; none where there are none."""
    if not masks:
        return [()] * len(layers)
    left = iter(masks)
    return [tuple(islice(left, len(layer.draw_masks(0)))) for layer in layers]


def load_torch(network: Bidirectional | Deep, weights: Mapping[str, Tensor]) -> None:
    """Fill a composed network from the state_dict of torch.nn's module with `num_layers` and `bidirectional`.

    `weight_ih_l1_reverse` there is `weight_ih_l0` of the second layer's backward part here, and so on. Raises KeyError
    where a weight is missing.
    """
    for part, suffix in parts(network):
        if isinstance(part, OneLayerLSTM):
            part.load_packed(weights, suffix)
        else:
            own = part.module if isinstance(part, Official) else part
            own.load_state_dict({name: weights[name.removesuffix("_l0") + suffix] for name in own.state_dict()})


def to_torch(network: Bidirectional | Deep) -> dict[str, Tensor]:
    """A composed network's weights as torch.nn names them: what `load_state_dict` of the whole module takes."""
    weights: dict[str, Tensor] = {}
    for part, suffix in parts(network):
        if isinstance(part, OneLayerLSTM):
            weights |= part.to_packed(suffix)
        else:
            own = part.module if isinstance(part, Official) else part
            weights |= {name.removesuffix("_l0") + suffix: weight for name, weight in own.state_dict().items()}
    return weights


def parts(network: Bidirectional | Deep) -> list[tuple[nn.Module, str]]:
    """The single recurrences with the suffix that torch.nn gives to their weights' names."""
    layers = list(network.layers) if isinstance(network, Deep) else [network]
    found = []
    for k, layer in enumerate(layers):
        if isinstance(layer, Bidirectional):
            found += [(cast(nn.Module, layer.forwards), f"_l{k}"), (cast(nn.Module, layer.backwards), f"_l{k}_reverse")]
        else:
            found.append((layer, f"_l{k}"))
    return found
