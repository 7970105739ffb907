"""Backpropagation through time in chunks, and a small training loop over it.

A sequence of T steps is read in chunks of K. What is handed from chunk to chunk is the state, h and, for an LSTM, c:
its values, so that the forward pass is that of the whole sequence. What is not handed back, when truncated, is the
gradient: each chunk's backward pass starts from zeros at the chunk's end, so no output's gradient reaches further back
than the first step of its chunk. `train` updates after each chunk and so keeps the tapes of one chunk only. `exact`
hands the gradient back as well, last chunk first, and gives the whole sequence's gradient.

Source: Williams & Peng (1990), with steps between updates and depth of truncation both K.
"""

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np

from .recurrence import Array, State, Tape, Weights
from .stack import Stack

ChunkTapes = list[list[list[Tape]]]  # of each chunk, of each layer, of each step


def chunks(length: int, chunk_len: int) -> Iterator[slice]:
    """The slices of `length` steps, chunk_len at a time; the last may be shorter."""
    if chunk_len < 1:
        raise ValueError(f"chunk_len must be at least 1 time step, got {chunk_len}")
    for start in range(0, length, chunk_len):
        yield slice(start, min(start + chunk_len, length))


def forward_in_chunks(stack: Stack, xs: Array, state: State, chunk_len: int) -> tuple[Array, State, ChunkTapes]:
    """Read xs [T, B, E] chunk by chunk, handing the state on: outputs [T, B, D], last state, tapes of each chunk."""
    outputs, tapes = [], []
    for window in chunks(len(xs), chunk_len):
        output, state, tape = stack.forward(xs[window], state)
        outputs.append(output)
        tapes.append(tape)
    return np.concatenate(outputs), state, tapes


def backward_in_chunks(
    stack: Stack, d_outputs: Array, tapes: ChunkTapes, chunk_len: int, exact: bool = False
) -> tuple[Array, State, Weights]:
    """Gradients of a loss on all outputs, for the chunks that `forward_in_chunks` read.

    d_outputs: [T, B, D]. exact=False cuts the state's gradient at each chunk boundary, exact=True hands it to the chunk
    before. Returns the gradients with respect to xs [T, B, E], to the first state and, to every weight.
    """
    batch_size = d_outputs.shape[1]
    d_state = stack.zero_state(batch_size)
    windows = list(chunks(len(d_outputs), chunk_len))
    d_xs: list[Array] = []
    total = {name: np.zeros_like(weight) for name, weight in stack.weights.items()}
    for window, tape in zip(windows[::-1], tapes[::-1], strict=True):
        arriving = d_state if exact else stack.zero_state(batch_size)
        d_x, d_state, gradients = stack.backward(d_outputs[window], arriving, tape)
        d_xs.insert(0, d_x)
        for name, gradient in gradients.items():
            total[name] += gradient
    return np.concatenate(d_xs), d_state, total


def softmax_cross_entropy(logits: Array, targets: Array) -> tuple[float, Array]:
    """Mean of -log softmax(logits)[target] over all positions, and its gradient with respect to the logits.

    logits: [..., C], targets: integers [...]. With p the softmax and N positions, it is (p - onehot(target)) / N.
    """
    shifted = logits - logits.max(axis=-1, keepdims=True)
    p = np.exp(shifted)
    total = p.sum(axis=-1, keepdims=True)
    at = np.expand_dims(targets, -1)
    loss = float((np.log(total) - np.take_along_axis(shifted, at, axis=-1)).mean())
    p /= total
    np.put_along_axis(p, at, np.take_along_axis(p, at, axis=-1) - 1, axis=-1)
    return loss, p / targets.size


class Tagger:
    """A stack with a linear head at every position: logits = W h + b, W [C, D], b [C].

    weights: the stack's under torch.nn's names, the head's as head_weight and head_bias.
    """

    def __init__(self, stack: Stack, num_classes: int, rng: np.random.Generator) -> None:
        self.stack = stack
        bound = stack.output_size**-0.5
        dtype = stack.layers[0].dtype
        self.head_weight = rng.uniform(-bound, bound, (num_classes, stack.output_size)).astype(dtype)
        self.head_bias = np.zeros(num_classes, dtype)

    @property
    def weights(self) -> Weights:
        """All weights by name (the arrays themselves: an optimizer changes them in place)."""
        return self.stack.weights | {"head_weight": self.head_weight, "head_bias": self.head_bias}

    def loss_and_gradients(self, xs: Array, targets: Array, state: State) -> tuple[float, State, Weights]:
        """One chunk: xs [K, B, E], targets [K, B] -> mean loss, the state to hand on, the gradients of every weight."""
        outputs, state, tapes = self.stack.forward(xs, state)
        loss, d_logits = softmax_cross_entropy(outputs @ self.head_weight.T + self.head_bias, targets)
        nothing_after = self.stack.zero_state(xs.shape[1])
        _, _, gradients = self.stack.backward(d_logits @ self.head_weight, nothing_after, tapes)
        gradients["head_weight"] = np.einsum("tbc,tbd->cd", d_logits, outputs)
        gradients["head_bias"] = d_logits.sum(axis=(0, 1))
        return loss, state, gradients


class Optimizer(Protocol):
    """Changes weights in place, given their gradients."""

    def step(self, weights: Weights, gradients: Weights) -> None:
        """One update."""
        ...


class SGD:
    """w -= lr * g."""

    def __init__(self, lr: float) -> None:
        self.lr = lr

    def step(self, weights: Weights, gradients: Weights) -> None:
        """One update."""
        for name, gradient in gradients.items():
            weights[name] -= self.lr * gradient


class Adagrad:
    """s += g^2; w -= lr * g / (sqrt(s) + eps). Source: Duchi, Hazan & Singer (2011)."""

    def __init__(self, lr: float, eps: float = 1e-10) -> None:
        self.lr, self.eps = lr, eps
        self.squares: dict[str, Any] = {}

    def step(self, weights: Weights, gradients: Weights) -> None:
        """One update."""
        for name, gradient in gradients.items():
            self.squares[name] = self.squares.get(name, 0.0) + gradient**2
            weights[name] -= self.lr * gradient / (np.sqrt(self.squares[name]) + self.eps)


class Adam:
    """Means m of g, v of g^2, over 1 - beta^t; w -= lr * m / (sqrt(v) + eps). Source: Kingma & Ba (2015)."""

    def __init__(self, lr: float, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8) -> None:
        self.lr, self.betas, self.eps = lr, betas, eps
        self.means: dict[str, Any] = {}
        self.squares: dict[str, Any] = {}
        self.steps = 0

    def step(self, weights: Weights, gradients: Weights) -> None:
        """One update."""
        self.steps += 1
        first, second = self.betas
        for name, gradient in gradients.items():
            self.means[name] = first * self.means.get(name, 0.0) + (1 - first) * gradient
            self.squares[name] = second * self.squares.get(name, 0.0) + (1 - second) * gradient**2
            m = self.means[name] / (1 - first**self.steps)
            v = self.squares[name] / (1 - second**self.steps)
            weights[name] -= self.lr * m / (np.sqrt(v) + self.eps)


def train(tagger: Tagger, xs: Array, targets: Array, chunk_len: int, optimizer: Optimizer) -> list[float]:
    """Read one batch of sequences once, an update after each chunk; h and c go on to the next chunk.

    xs: [T, B, E], targets: integers [T, B]. Returns the mean loss of each chunk, before its update.
    """
    state = tagger.stack.zero_state(xs.shape[1])
    losses = []
    for window in chunks(len(xs), chunk_len):
        loss, state, gradients = tagger.loss_and_gradients(xs[window], targets[window], state)
        optimizer.step(tagger.weights, gradients)
        losses.append(loss)
    return losses
