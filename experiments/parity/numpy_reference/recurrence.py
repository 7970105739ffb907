"""The loop over time: what every recurrence shares, forwards and backwards."""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
State = tuple[Array, ...]  # (h,) or (h, c), each [B, H]; what one step hands to the next
Tape = tuple[Array, ...]  # what the backward pass of one step needs of its forward pass
Weights = dict[str, Array]


def sigmoid(a: Array) -> Array:
    """1 / (1 + exp(-a)), written with tanh so that no exponential overflows."""
    return 0.5 * (1.0 + np.tanh(0.5 * a))


def add_product(gradients: Weights, weight: str, bias: str | None, d_a: Array, x: Array) -> None:
    """Add the gradients of `a = x W^T + b` for one step, summed over the rows of the batch.

    With d_a: [B, N] and x: [B, E], dW = d_a^T x: [N, E] and db = sum over rows of d_a: [N]. A weight serves every step,
    so its gradient is the sum over all steps: this adds.
    """
    d_a, x = np.atleast_2d(d_a), np.atleast_2d(x)
    gradients[weight] += d_a.T @ x
    if bias is not None:
        gradients[bias] += d_a.sum(axis=0)


class Recurrence(ABC):
    """A recurrence with its weights. A subclass gives one step and the step's derivative; the loop is here.

    weights: named as in torch.nn, drawn from uniform(-1/sqrt(H), 1/sqrt(H)); may be overwritten by arrays alike.
    state_sizes: the width of each part of the state, (H,) or (P or H, H).
    output_size: the width of the outputs, the first part of the state.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        shapes: dict[str, tuple[int, ...]],
        state_sizes: tuple[int, ...],
        rng: np.random.Generator,
        dtype: type[np.floating[Any]],
    ) -> None:
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.state_sizes = state_sizes
        self.output_size = state_sizes[0]
        self.dtype = dtype
        bound = hidden_size**-0.5
        self.weights: Weights = {
            name: rng.uniform(-bound, bound, shape).astype(dtype) for name, shape in shapes.items()
        }

    @abstractmethod
    def step(self, x: Array, state: State) -> tuple[State, Tape]:
        """One step: input x [B, E] and the state before it give the state after it and the step's tape."""

    @abstractmethod
    def step_backward(self, d_state: State, tape: Tape, gradients: Weights) -> tuple[Array, State]:
        """One step backwards: from the gradient with respect to the state after the step, those with respect to the
        step's input [B, E] and to the state before it; the weights' gradients are added to `gradients`."""

    def zero_state(self, batch_size: int) -> State:
        """Zeros [B, size] for each part of the state."""
        return tuple(np.zeros((batch_size, size), self.dtype) for size in self.state_sizes)

    def zero_gradients(self) -> Weights:
        """Zeros in the shape of every weight."""
        return {name: np.zeros_like(weight) for name, weight in self.weights.items()}

    def forward(self, xs: Array, state: State) -> tuple[Array, State, list[Tape]]:
        """The whole sequence: xs [T, B, E] and a first state give outputs [T, B, D], the last state and the tapes."""
        outputs, tapes = [], []
        for x in xs:
            state, tape = self.step(x, state)
            outputs.append(state[0])
            tapes.append(tape)
        return np.stack(outputs), state, tapes

    def backward(self, d_outputs: Array, d_state: State, tapes: list[Tape]) -> tuple[Array, State, Weights]:
        """Backpropagation through time (Werbos 1990): the steps in reverse order.

        d_outputs [T, B, D]: gradient with respect to each output; d_state: with respect to the last state as far as
        something after this sequence used it, zeros otherwise. Step t's hidden state has two readers, the output at t
        and the step t + 1, so their gradients add.

        Returns the gradients with respect to xs [T, B, E], to the first state, and to every weight.
        """
        gradients = self.zero_gradients()
        d_xs = []
        for d_output, tape in zip(d_outputs[::-1], tapes[::-1], strict=True):
            d_x, d_state = self.step_backward((d_state[0] + d_output, *d_state[1:]), tape, gradients)
            d_xs.append(d_x)
        return np.stack(d_xs[::-1]), d_state, gradients


def packed_shapes(gates: int, input_size: int, hidden_size: int, output_size: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a layer's weights with its gates stacked on the first axis, in torch.nn's order."""
    return {
        "weight_ih": (gates * hidden_size, input_size),
        "weight_hh": (gates * hidden_size, output_size),
        "bias_ih": (gates * hidden_size,),
        "bias_hh": (gates * hidden_size,),
    }
