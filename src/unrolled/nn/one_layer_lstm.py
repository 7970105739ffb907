"""What the LSTMs written another way than torch.nn's packed layout have in common."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Self

import torch
from torch import Tensor, nn

from .protocol import State


class OneLayerLSTM(nn.Module, ABC):
    """One layer and one direction, time first, with weights that convert to and from those of torch.nn.LSTM.

    A subclass keeps the weights its own way and gives three methods: `read`, `load_packed`, `to_packed`. Initial
    weights are drawn as torch.nn.LSTM draws them, so the same seed gives the same network. Several layers are put
    together by `Deep`, two directions by `Bidirectional` or `Encoder`.

    input_size: E; hidden_size: H; bias: whether the gates have biases; proj_size: P, 0 for no projection.
    Raises ValueError for a size below 1 and for a proj_size outside 0 <= P < H.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        proj_size: int = 0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        for name, size in (("input_size", input_size), ("hidden_size", hidden_size)):
            if size < 1:
                raise ValueError(f"{name} must be at least 1, got {size}")
        if not 0 <= proj_size < hidden_size:
            raise ValueError(
                f"proj_size must lie between 0 (no projection) and hidden_size - 1, got proj_size={proj_size} "
                f"with hidden_size={hidden_size}"
            )
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.bias = bias
        self.proj_size = proj_size
        self.output_size = proj_size or hidden_size  # D
        self.make_parameters(device, dtype)
        self.reset_parameters()

    @abstractmethod
    def make_parameters(self, device: torch.device | str | None, dtype: torch.dtype | None) -> None:
        """Register the parameters, unset."""

    @abstractmethod
    def load_packed(self, weights: Mapping[str, Tensor], suffix: str = "_l0") -> None:
        """Copy the weights of one layer of a torch.nn.LSTM (its state_dict; `suffix` names the layer and direction)."""

    @abstractmethod
    def to_packed(self, suffix: str = "_l0") -> dict[str, Tensor]:
        """The weights as torch.nn.LSTM's state_dict names and stacks them."""

    @abstractmethod
    def read(self, x: Tensor, state: State, masks: State = ()) -> tuple[Tensor, State]:
        """One chunk x (K, B, E) from the state h (1, B, D), c (1, B, H): outputs (K, B, D) and the state after it."""

    @classmethod
    def from_packed(cls, weights: Mapping[str, Tensor], suffix: str = "_l0") -> Self:
        """Build from one layer of torch.nn.LSTM's state_dict; sizes, bias, projection, device and type come from it."""
        w_ih, w_hr = weights[f"weight_ih{suffix}"], weights.get(f"weight_hr{suffix}")
        new = cls(
            w_ih.shape[1],
            w_ih.shape[0] // 4,
            bias=f"bias_ih{suffix}" in weights,
            proj_size=0 if w_hr is None else w_hr.shape[0],
            device=w_ih.device,
            dtype=w_ih.dtype,
        )
        new.load_packed(weights, suffix)
        return new

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Uniform between -1/sqrt(H) and 1/sqrt(H), drawn in the order of torch.nn.LSTM's parameters."""
        like, H, D = next(self.parameters()), self.hidden_size, self.output_size
        shapes: dict[str, tuple[int, ...]] = {"weight_ih_l0": (4 * H, self.input_size), "weight_hh_l0": (4 * H, D)}
        if self.bias:
            shapes |= {"bias_ih_l0": (4 * H,), "bias_hh_l0": (4 * H,)}
        if self.proj_size:
            shapes["weight_hr_l0"] = (D, H)
        self.load_packed({name: like.new_empty(shape).uniform_(-(H**-0.5), H**-0.5) for name, shape in shapes.items()})

    def initial_state(self, batch_size: int) -> State:
        """Zeros: h (1, B, D) and c (1, B, H)."""
        like = next(self.parameters())
        return like.new_zeros(1, batch_size, self.output_size), like.new_zeros(1, batch_size, self.hidden_size)

    def draw_masks(self, batch_size: int) -> State:
        """No dropout inside."""
        return ()

    def redraw(self) -> None:
        """No weight is dropped: nothing to draw."""

    def forward(self, x: Tensor, hx: State | None = None) -> tuple[Tensor, State]:
        """x (T, B, E), from h (1, B, D) and c (1, B, H) or from zeros: outputs (T, B, D) and the last h, c."""
        return self.read(x, self.initial_state(x.shape[1]) if hx is None else hx)

    def extra_repr(self) -> str:
        """The sizes, as torch.nn.LSTM shows them."""
        projected = f", proj_size={self.proj_size}" if self.proj_size else ""
        return f"{self.input_size}, {self.hidden_size}{projected}" + ("" if self.bias else ", bias=False")
