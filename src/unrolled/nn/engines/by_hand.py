"""RNN, LSTM and GRU over one chunk, forward and backward by hand: products over blocks of steps around the time loops.

The loops are functions of recurrences.cpp or of reference.py, where the derivation is.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor

from unrolled.nn.engines import reference

Inputs = Sequence[Any]
"""x (K, B, E), the state's tensors (B, S), and the weights, None where there is none, in the order of `weights`."""


@dataclass(frozen=True)
class ByHand(ABC):
    """A recurrence over one chunk. Arguments are not changed, and results are memory of their own."""

    loops: Any
    reverse: bool
    nonlinearity: str = "tanh"
    state: ClassVar[tuple[str, ...]] = ("h0",)
    weights: ClassVar[tuple[str, ...]] = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")

    def needed(self, inputs: Sequence[bool]) -> dict[str, bool]:
        """Which gradients are wanted, by the names of the inputs."""
        return dict(zip(("x", *self.state, *self.weights), inputs, strict=True))

    @abstractmethod
    def read(self, inputs: Inputs, save: bool) -> tuple[tuple[Tensor, ...], tuple[Tensor | None, ...]]:
        """Outputs and the state after the last step; and, if ``save``, what `gradients` needs besides the inputs."""

    @abstractmethod
    def gradients(self, needed: Mapping[str, bool], saved: Inputs, grads: Sequence[Tensor | None]) -> tuple[Any, ...]:
        """Gradients of the inputs. saved: the inputs, the outputs and what `read` saved; grads: of what it returned."""


class RNN(ByHand):
    """See `reference.rnn_forward`."""

    def read(self, inputs: Inputs, save: bool) -> tuple[tuple[Tensor, ...], tuple[Tensor | None, ...]]:
        x, h0, weight_ih, weight_hh, bias_ih, bias_hh = inputs
        bias, U, h = _sum(bias_ih, bias_hh), self.loops.pack(weight_hh, 1, True), h0.contiguous()
        outputs = x.new_empty(*x.shape[:2], h0.shape[1])
        for steps in _blocks(outputs, h0.shape[1], self.reverse):
            part = outputs[steps]
            _input_product(x[steps], weight_ih, part)
            self.loops.rnn_forward(part, bias, U, h, self._number, self.reverse)
            h = part[_last(self.reverse)]
        return (outputs, h.clone()), ()

    def gradients(self, needed: Mapping[str, bool], saved: Inputs, grads: Sequence[Tensor | None]) -> tuple[Any, ...]:
        x, h0, weight_ih, weight_hh, _, _, outputs = saved
        dy, dh, U = _rows(grads[0]), _start(grads[1], h0), self.loops.pack(weight_hh, 1, False)
        sums = _Sums(needed, x, h0, weight_ih, weight_hh, outputs, self.reverse, len(weight_hh))
        blocks = _blocks(outputs, h0.shape[1], self.reverse)
        room = _room(outputs, h0.shape[1], blocks)
        for steps in reversed(blocks):
            da = _part(room, steps)
            self.loops.rnn_backward(
                outputs[steps], U, _steps_of(dy, steps), dh, da, sums.db, self._number, self.reverse
            )
            sums.add(steps, da, da)
        return sums.dx, dh, sums.dW.total(), sums.dU.total(), sums.db, sums.db

    @property
    def _number(self) -> int:
        return reference.NONLINEARITIES.index(self.nonlinearity)


class LSTM(ByHand):
    """See `reference.lstm_forward`; with a weight_hr it is projected."""

    state = ("h0", "c0")
    weights = (*ByHand.weights, "weight_hr")

    def read(self, inputs: Inputs, save: bool) -> tuple[tuple[Tensor, ...], tuple[Tensor | None, ...]]:
        x, h0, c0, weight_ih, weight_hh, bias_ih, bias_hh, weight_hr = inputs
        bias, h, c = _sum(bias_ih, bias_hh), h0.contiguous(), c0.contiguous()
        U = self.loops.pack(weight_hh, 4, True)
        R = None if weight_hr is None else self.loops.pack(weight_hr, 1, True)
        K, B = x.shape[:2]
        H = c0.shape[1]
        outputs = x.new_empty(K, B, h0.shape[1])
        blocks = _blocks(x, 4 * H, self.reverse)
        gates = x.new_empty(K, B, 4 * H) if save else _room(x, 4 * H, blocks)
        cells = x.new_empty(K, B, H) if save else x.new_empty(B, H).expand(K, -1, -1)
        hidden = None if R is None else torch.empty_like(cells) if save else x.new_empty(B, H).expand(K, -1, -1)
        for steps in blocks:
            a, y, memory = gates[steps] if save else _part(gates, steps), outputs[steps], cells[steps]
            _input_product(x[steps], weight_ih, a)
            self.loops.lstm_forward(a, bias, U, R, h, c, y, memory, _steps_of(hidden, steps), save, self.reverse)
            h, c = y[_last(self.reverse)], memory[_last(self.reverse)]
        return (outputs, h.clone(), c.clone()), (gates, cells, hidden)

    def gradients(self, needed: Mapping[str, bool], saved: Inputs, grads: Sequence[Tensor | None]) -> tuple[Any, ...]:
        x, h0, c0, weight_ih, weight_hh, _, _, weight_hr, outputs, gates, cells, hidden = saved
        dy, dh, dc = _rows(grads[0]), _start(grads[1], h0), _start(grads[2], c0)
        U = self.loops.pack(weight_hh, 1, False)
        R = None if weight_hr is None else self.loops.pack(weight_hr, 1, False)
        sums = _Sums(needed, x, h0, weight_ih, weight_hh, outputs, self.reverse, len(weight_hh))
        dR = _WeightGradient(weight_hr, needed["weight_hr"])
        blocks = _blocks(x, gates.shape[2], self.reverse)
        room = _room(x, gates.shape[2], blocks)
        projected = None if R is None else _room(x, h0.shape[1], blocks)
        for steps in reversed(blocks):
            da, dp = _part(room, steps), None if projected is None else _part(projected, steps)
            c, dys = _before(cells, c0, steps, self.reverse), _steps_of(dy, steps)
            self.loops.lstm_backward(gates[steps], cells[steps], c, U, R, dys, dh, dc, da, dp, sums.db, self.reverse)
            sums.add(steps, da, da)
            if dp is not None:
                dR.add(hidden[steps], dp)
        return sums.dx, dh, dc, sums.dW.total(), sums.dU.total(), sums.db, sums.db, dR.total()


class GRU(ByHand):
    """See `reference.gru_forward`."""

    def read(self, inputs: Inputs, save: bool) -> tuple[tuple[Tensor, ...], tuple[Tensor | None, ...]]:
        x, h0, weight_ih, weight_hh, bias_ih, bias_hh = inputs
        U, h = self.loops.pack(weight_hh, 3, True), h0.contiguous()
        K, B = x.shape[:2]
        H = h0.shape[1]
        bias = bias_hn = None
        if bias_ih is not None and bias_hh is not None:
            bias = torch.cat([bias_ih[: 2 * H] + bias_hh[: 2 * H], bias_ih[2 * H :]])
            bias_hn = bias_hh[2 * H :].contiguous()
        outputs = x.new_empty(K, B, H)
        blocks = _blocks(x, 4 * H, self.reverse)
        gates = x.new_empty(K, B, 3 * H) if save else _room(x, 3 * H, blocks)
        candidates = x.new_empty(K, B, H) if save else None
        for steps in blocks:
            a, y = gates[steps] if save else _part(gates, steps), outputs[steps]
            _input_product(x[steps], weight_ih, a)
            self.loops.gru_forward(a, bias, bias_hn, U, h, y, _steps_of(candidates, steps), self.reverse)
            h = y[_last(self.reverse)]
        return (outputs, h.clone()), (gates, candidates)

    def gradients(self, needed: Mapping[str, bool], saved: Inputs, grads: Sequence[Tensor | None]) -> tuple[Any, ...]:
        x, h0, weight_ih, weight_hh, _, _, outputs, gates, candidates = saved
        H = h0.shape[1]
        dy, dh, U = _rows(grads[0]), _start(grads[1], h0), self.loops.pack(weight_hh.roll(H, 0), 1, False)
        sums = _Sums(needed, x, h0, weight_ih, weight_hh, outputs, self.reverse, 4 * H)
        blocks = _blocks(x, 4 * H, self.reverse)
        room = _room(x, 4 * H, blocks)
        for steps in reversed(blocks):
            da, h = _part(room, steps), _before(outputs, h0, steps, self.reverse)  # dq, da_r, da_z, da_n
            kept, dys = (gates[steps], candidates[steps], outputs[steps]), _steps_of(dy, steps)
            self.loops.gru_backward(*kept, h, U, dys, dh, da, sums.db, self.reverse)
            sums.add(steps, da[..., H:], da[..., : 3 * H])
        recurrent, db_ih, db_hh = sums.dU.total(), None, None
        if recurrent is not None:
            recurrent = recurrent.roll(-H, 0)  # from the order n, r, z to r, z, n
        if sums.db is not None:
            db_ih, db_hh = sums.db[H:], sums.db[: 3 * H].roll(-H, 0)
        return sums.dx, dh, sums.dW.total(), recurrent, db_ih, db_hh


# ---- products over all steps of a block ------------------------------------------------------------------------------


def _input_product(x: Tensor, weight_ih: Tensor, out: Tensor) -> None:
    """W x_t for all steps: (K, B, G H)."""
    torch.mm(x.flatten(0, 1), weight_ih.t(), out=out.flatten(0, 1))


class _Sums:
    """Gradients of a chunk's input, weights and biases, summed up over blocks: dx, dW, dU and db, where wanted."""

    def __init__(
        self,
        needed: Mapping[str, bool],
        x: Tensor,
        h0: Tensor,
        weight_ih: Tensor,
        weight_hh: Tensor,
        outputs: Tensor,
        reverse: bool,
        biases: int,
    ) -> None:
        self._x, self._h0, self._weight_ih, self._outputs, self._reverse = x, h0, weight_ih, outputs, reverse
        self.dx = x.new_empty(x.shape) if needed["x"] else None
        self.dW = _WeightGradient(weight_ih, needed["weight_ih"])
        self.dU = _WeightGradient(weight_hh, needed["weight_hh"])
        self.db = weight_hh.new_zeros(biases) if needed["bias_ih"] or needed["bias_hh"] else None

    def add(self, steps: slice, of_input: Tensor, of_state: Tensor) -> None:
        """The gradients of these steps' gates (K, B, G H), by what the input and by what the state before gave."""
        if self.dx is not None:
            torch.mm(of_input.flatten(0, 1), self._weight_ih, out=self.dx[steps].flatten(0, 1))
        self.dW.add(self._x[steps], of_input)
        self.dU.add_before(self._outputs, self._h0, of_state, steps, self._reverse)


class _WeightGradient:
    """The gradient of a weight, summed up over blocks: da^T inputs, each (N, S) over N steps and rows.

    It is computed the other way round, inputs^T da, which is up to twice as fast for the long and narrow.
    """

    def __init__(self, weight: Tensor | None, wanted: bool) -> None:
        self._turned = weight.new_empty(weight.shape[1], weight.shape[0]) if wanted and weight is not None else None
        self._share_of_old = 0  # until there is something

    def add(self, inputs: Tensor, da: Tensor) -> None:
        if self._turned is not None:
            self._turned.addmm_(inputs.flatten(0, 1).t(), da.flatten(0, 1), beta=self._share_of_old)
            self._share_of_old = 1

    def add_before(self, outputs: Tensor, h0: Tensor, da: Tensor, steps: slice, reverse: bool) -> None:
        """Add each step's da with the output of the step before; `steps` are those of da."""
        before = (
            outputs[steps.start + 1 : steps.stop + 1] if reverse else outputs[max(steps.start - 1, 0) : steps.stop - 1]
        )
        first = len(da) - len(before)  # 1 if the first step of all is among them
        parts = [da[: len(before)], da[len(before) :]] if reverse else [da[first:], da[:first]]
        self.add(before, parts[0])
        if first:
            self.add(h0.unsqueeze(0), parts[1])

    def total(self) -> Tensor | None:
        """In memory as the weight is, or autograd would copy it."""
        return None if self._turned is None else self._turned.t().contiguous()


# ---- blocks of steps -------------------------------------------------------------------------------------------------

BLOCK_BYTES = 2**22
"""Of the gates of a block, for each thread: twice a core's second cache is best where it was measured."""


def _blocks(x: Tensor, width: int, reverse: bool) -> list[slice]:
    """Pieces of time, in the order in which they are read, such that (steps, B, width) stays in the cache.

    What the input product writes is then still there when the loop over time reads it, and the gradient of the gates
    when the products of the weights do; and there is need of memory for one block of it only.
    """
    steps, rows = x.shape[:2]
    block = BLOCK_BYTES * torch.get_num_threads() // max(rows * width * x.element_size(), 1)
    count = -(-steps // max(block, 1))
    edges = [steps * i // count for i in range(count + 1)]
    blocks = [slice(*edge) for edge in pairwise(edges)]
    return blocks[::-1] if reverse else blocks


def _room(x: Tensor, width: int, blocks: list[slice]) -> Tensor:
    """Memory for a value of each step of the longest block."""
    return x.new_empty(max(steps.stop - steps.start for steps in blocks), x.shape[1], width)


def _part(room: Tensor, steps: slice) -> Tensor:
    return room[: steps.stop - steps.start]


def _last(reverse: bool) -> int:
    return 0 if reverse else -1


def _steps_of(values: Tensor | None, steps: slice) -> Tensor | None:
    return None if values is None else values[steps]


def _before(values: Tensor, first: Tensor, steps: slice, reverse: bool) -> Tensor:
    """The value of the step before a block; of the first block it is ``first``."""
    if reverse:
        return values[steps.stop] if steps.stop < len(values) else first.contiguous()
    return values[steps.start - 1] if steps.start > 0 else first.contiguous()


# ---- small matters ---------------------------------------------------------------------------------------------------


def _sum(bias_ih: Tensor | None, bias_hh: Tensor | None) -> Tensor | None:
    return None if bias_ih is None or bias_hh is None else bias_ih + bias_hh


def _start(grad_last: Tensor | None, state: Tensor) -> Tensor:
    """A tensor to work in, with the gradient of the last state in it: (B, S)."""
    if grad_last is None:
        return torch.zeros_like(state, memory_format=torch.contiguous_format)
    return grad_last.clone(memory_format=torch.contiguous_format)


def _rows(grad: Tensor | None) -> Tensor | None:
    """The loops take any strides of time and row, so that the gradient of a sum or a mean over time is not copied."""
    return grad if grad is None or grad.shape[-1] == 1 or grad.stride(-1) == 1 else grad.contiguous()
