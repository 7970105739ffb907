"""The base class of cells: named weights, one product for the input of all steps, the equations of one step."""

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

State = tuple[Tensor, ...]
"""What one step hands to the next: (h,) or (h, c). The first tensor is the step's output."""

Weights = Mapping[str, Tensor]
"""The weights of one layer in one direction, by name."""


def affine(x: Tensor | None, h: Tensor, U: Tensor) -> Tensor:
    """x + h U for x: (B, G) or (G,), h: (B, H), U: (H, G), in one call; the result has the dtype of `h`.

    Under autocast the product is made in the lower precision; everything that follows, and with it the state that
    is summed up over many steps, stays in the precision of the state.
    """
    return (torch.mm(h, U) if x is None else torch.addmm(x, h, U)).to(h.dtype)


class Cell(nn.Module):
    """One step of a recurrence: the class to derive a cell of one's own from.

    With input x: (B, E) and state (h, ...), h: (B, H), a cell says in `step` how the next state follows from
    W x + b, which is made for all steps at once, and the state. The least that a cell needs is the number of its
    gates and that method; it then has the four weights of torch.nn's cells, `gates` blocks of H rows stacked:

        weight_ih: (gates * H, E)    W
        weight_hh: (gates * H, H)    U, handed to `step` as (H, gates * H), so that one writes h U
        bias_ih, bias_hh: (gates * H,)    b is their sum

    A cell is used in two ways. Called, it makes one step with weights of its own, like `torch.nn.LSTMCell`. Given to
    a `Recurrence`, it supplies the equations and the Recurrence the weights, one set for each layer and direction.

    Override `weight_shapes` for other weights, `state_sizes` for other states, `initialise` for other first values,
    `prepare` for what is made of weights alone, `from_input` for what is made of inputs alone.

    Args:
        input_size: E
        hidden_size: H
        bias: without it there is no b
        device, dtype: of the weights
        orthogonal: first values of the recurrent weights: each gate's block a random orthogonal matrix (Saxe,
            McClelland & Ganguli 2014), instead of uniform
    """

    gates: ClassVar[int] = 1  # blocks of H rows stacked in weight_ih, weight_hh and the biases
    recurrent_weights: ClassVar[tuple[str, ...]] = ("weight_hh",)  # what `orthogonal` and DropConnect act on
    mode: ClassVar[str] = ""  # torch.nn's name of the recurrence, if it has one

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        orthogonal: bool = False,
    ) -> None:
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.bias = bias
        self.orthogonal = orthogonal
        shapes = self.weight_shapes()
        self.weight_names = tuple(shapes)
        for name, shape in shapes.items():
            self.register_parameter(name, nn.Parameter(torch.empty(shape, device=device, dtype=dtype)))
        if not bias:
            self.register_parameter("bias_ih", None)
            self.register_parameter("bias_hh", None)
        self.reset_parameters()

    @property
    def state_sizes(self) -> tuple[int, ...]:
        """Features of each tensor of the state; the first is the output's."""
        return (self.hidden_size,)

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of each weight, in the order in which they are made and initialised."""
        rows = self.gates * self.hidden_size
        shapes: dict[str, tuple[int, ...]] = {
            "weight_ih": (rows, self.input_size),
            "weight_hh": (rows, self.state_sizes[0]),
        }
        if self.bias:
            shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
        return shapes

    @torch.no_grad()
    def initialise(self, weights: Weights) -> None:
        """Give `weights` their first values in place: uniform in +-1/sqrt(H), as torch.nn does, in order."""
        bound = 1 / math.sqrt(self.hidden_size)
        for weight in weights.values():
            nn.init.uniform_(weight, -bound, bound)
        if self.orthogonal:
            for name in self.recurrent_weights:
                for block in weights[name].chunk(self.gates):  # (H, H) each
                    nn.init.orthogonal_(block)

    def reset_parameters(self) -> None:
        self.initialise(self.weights())

    def weights(self) -> dict[str, Tensor]:
        """This cell's own weights, by name, as they are now."""
        return {name: getattr(self, name) for name in self.weight_names}

    def without_weights(self) -> Self:
        """Drop the weights and keep the equations: all that a Recurrence, which has weights of its own, needs."""
        self._parameters.clear()
        return self

    def from_packed(self, packed: Weights) -> dict[str, Tensor]:
        """This cell's weights from those of torch.nn's module; another layout overrides it and `to_packed`."""
        return dict(packed)

    def to_packed(self, weights: Weights) -> dict[str, Tensor]:
        """The weights as torch.nn's module names and stacks them."""
        return dict(weights)

    def prepare(self, weights: Weights) -> dict[str, Tensor]:
        """What `from_input` and `step` use, made of the weights once before the first of many steps.

        The weights by name, and besides, under the letters of the equations:
            W: (gates * H, E), U: (H, gates * H), b: (gates * H,), the sum of the two biases; no b without bias
        """
        w = {**weights, "W": weights["weight_ih"], "U": weights["weight_hh"].t()}
        if self.bias:
            w["b"] = weights["bias_ih"] + weights["bias_hh"]
        return w

    def from_input(self, x: Tensor, w: Weights) -> Tensor:
        """W x + b of any number of steps at once: (..., E) -> (..., gates * H)."""
        return F.linear(x, w["W"], w.get("b"))

    def step(self, x: Tensor, state: State, w: Weights) -> State:
        """The equations: x: (B, gates * H), one step of what `from_input` made, and the state -> the next state."""
        raise NotImplementedError(f"{type(self).__name__} must define step(x, state, w)")

    def forward(self, input: Tensor, hx: Any = None) -> Any:
        """One step with the cell's own weights, in the form of torch.nn's cells.

        Args:
            input: (B, E) or (E,)
            hx: h, or (h, c) for a cell that has two states, with or without B as the input; zeros if None

        Returns:
            the next state in the form of `hx`

        Raises:
            ValueError: an argument has a wrong number of dimensions
            RuntimeError: an argument has a wrong size
        """
        name = type(self).__name__
        if input.dim() not in (1, 2):
            raise ValueError(f"{name}: input must be (batch, input_size) or (input_size,), got {tuple(input.shape)}")
        batched = input.dim() == 2
        x = input if batched else input.unsqueeze(0)
        if x.size(1) != self.input_size:
            raise RuntimeError(f"{name}: input has {x.size(1)} features, input_size is {self.input_size}")
        if hx is None:
            state: State = tuple(x.new_zeros(x.size(0), size) for size in self.state_sizes)
        else:
            state = tuple(hx) if len(self.state_sizes) > 1 else (hx,)
            for i, s in enumerate(state):
                if s.dim() not in (1, 2):
                    raise ValueError(f"{name}: state {i} must be 1-D or 2-D like the input, got {tuple(s.shape)}")
            state = state if batched else tuple(s.unsqueeze(0) for s in state)
            expected = tuple((x.size(0), size) for size in self.state_sizes)
            if tuple(tuple(s.shape) for s in state) != expected:
                got = [tuple(s.shape) for s in state]
                raise RuntimeError(f"{name}: states must have the shapes {list(expected)}, got {got}")
        w = self.prepare(self.weights())
        state = self.step(self.from_input(x, w), state, w)
        state = state if batched else tuple(s.squeeze(0) for s in state)
        return state if len(state) > 1 else state[0]

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}" + ("" if self.bias else ", bias=False")
