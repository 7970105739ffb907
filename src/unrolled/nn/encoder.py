"""The encoder: layers on top of each other, from embeddings to outputs."""

from collections.abc import Sequence
from itertools import islice
from typing import cast

from torch import Tensor, nn

from unrolled.nn.cells import State
from unrolled.nn.layer import Layer
from unrolled.nn.recurrence import Recurrence


class Encoder(nn.Module):
    """From embeddings (K, B, E) to outputs (K, B, D), whatever the recurrence and whoever wrote it.

    Each layer reads the outputs of the one below. The state of all layers and directions is one flat tuple, batch on
    dimension 1, which goes from a chunk to the next of the same documents.
    """

    def __init__(self, layers: Sequence[Layer]) -> None:
        super().__init__()
        self._layers = nn.ModuleList(layers)
        self.output_size = layers[-1].output_size  # D
        self.bidirectional = any(len(layer.directions) == 2 for layer in layers)

    @property
    def layers(self) -> list[Layer]:
        """From the bottom to the top."""
        return [cast(Layer, layer) for layer in self._layers]

    def initial_state(self, batch_size: int) -> State:
        return tuple(s for layer in self.layers for s in layer.initial_state(batch_size))

    def draw_masks(self, batch_size: int) -> State:
        """Dropout masks that a document keeps over all its chunks, (1, B, features) for each layer that has some.

        () in evaluation, and where no layer drops so.
        """
        if not self.training:
            return ()
        return tuple(layer.draw_mask(batch_size) for layer in self.layers if layer.shared_dropout)

    def draw_weight_masks(self) -> None:
        """Drop other recurrent weights from now on: once per optimizer step, before its first chunk."""
        for layer in self.layers:
            for direction in layer.directions:
                direction.draw_weight_masks()

    def engines_run(self) -> list[str]:
        """Which engines have executed the handwritten recurrences so far, such as `fused (native)`."""
        recurrences = [r for layer in self.layers for r in layer.recurrences if isinstance(r, Recurrence)]
        return sorted({engine for recurrence in recurrences for engine in recurrence.engines_run})

    def split(self, state: State) -> list[State]:
        """The flat state as one tuple per layer."""
        rest = iter(state)
        return [tuple(islice(rest, sum(layer.num_states))) for layer in self.layers]

    def masks_of_layers(self, masks: State) -> list[Tensor | None]:
        """Each layer's own mask out of what `draw_masks` gave."""
        rest = iter(masks)
        return [next(rest) if masks and layer.shared_dropout else None for layer in self.layers]

    def forward(self, x: Tensor, state: State, masks: State = ()) -> tuple[Tensor, State]:
        """Read one chunk of each row and hand on the state.

        x: (K, B, E); masks: of `draw_masks`, the same ones for all chunks of a document. Returns outputs (K, B, D) and
        the new state.
        """
        new: list[Tensor] = []
        for layer, own, mask in zip(self.layers, self.split(state), self.masks_of_layers(masks), strict=True):
            x, after = layer(x, own, mask)
            new.extend(after)
        return x, tuple(new)
