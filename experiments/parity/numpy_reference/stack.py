"""Layers on top of each other."""

import itertools
from collections.abc import Sequence

import numpy as np

from .recurrence import Array, Recurrence, State, Tape, Weights


class Stack:
    """A deep recurrence: layer 0 reads the inputs, layer k the outputs of layer k - 1, all positions at once.

    layers: recurrences of one kind, each reading what the one before puts out.
    State: per part one array [L, B, size], layer by layer, as torch.nn returns it.
    """

    def __init__(self, layers: Sequence[Recurrence]) -> None:
        for below, above in itertools.pairwise(layers):
            if above.input_size != below.output_size:
                raise ValueError(
                    "a layer must read what the layer below puts out: "
                    f"{below.output_size} values, not {above.input_size}"
                )
        self.layers = list(layers)

    @property
    def weights(self) -> Weights:
        """The weights of all layers (the arrays themselves) under torch.nn's names: weight_ih_l0, ..."""
        return {f"{name}_l{k}": weight for k, layer in enumerate(self.layers) for name, weight in layer.weights.items()}

    @property
    def output_size(self) -> int:
        """Width of the top layer's outputs."""
        return self.layers[-1].output_size

    def zero_state(self, batch_size: int) -> State:
        """Zeros [L, B, size] for each part of the state."""
        return stack_states([layer.zero_state(batch_size) for layer in self.layers])

    def forward(self, xs: Array, state: State) -> tuple[Array, State, list[list[Tape]]]:
        """xs [T, B, E] and a first state give the top layer's outputs [T, B, D], the last state, each layer's tapes."""
        states, tapes = [], []
        for k, layer in enumerate(self.layers):
            xs, last, tape = layer.forward(xs, tuple(part[k] for part in state))
            states.append(last)
            tapes.append(tape)
        return xs, stack_states(states), tapes

    def backward(self, d_outputs: Array, d_state: State, tapes: list[list[Tape]]) -> tuple[Array, State, Weights]:
        """The layers from the top down: what a layer returns for its inputs is the gradient of the outputs below.

        Returns the gradients with respect to xs [T, B, E], to the first state [L, B, size] and to every weight.
        """
        states: list[State] = []
        gradients: Weights = {}
        for k in reversed(range(len(self.layers))):
            d_last = tuple(part[k] for part in d_state)
            d_outputs, d_first, of_layer = self.layers[k].backward(d_outputs, d_last, tapes[k])
            states.insert(0, d_first)
            gradients |= {f"{name}_l{k}": gradient for name, gradient in of_layer.items()}
        return d_outputs, stack_states(states), gradients


def stack_states(states: Sequence[State]) -> State:
    """One state per layer, parts [B, size], to one state with parts [L, B, size]."""
    return tuple(np.stack(parts) for parts in zip(*states, strict=True))
