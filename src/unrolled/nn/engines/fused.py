"""The engine `fused`: RNN, LSTM, LSTMP and GRU over one chunk on a CPU, with backpropagation through time by hand.

A chunk takes one product for the input of all steps, a loop over time with one recurrent product a step, and, in the
backward, the same loop reversed and one product for each weight. The loops are native code (recurrences.cpp) or, where
none can be built, Python (reference.py); the derivation is in the latter.
"""

import functools
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.utils._python_dispatch import _get_current_dispatch_mode

from unrolled.nn.cells import Cell, GRUCell, LSTMCell, RNNCell
from unrolled.nn.engines import native, reference

State = tuple[Tensor, ...]
Version = Literal["native", "python"]
Results = tuple[tuple[Tensor, ...], tuple[Tensor | None, ...]]
"""Outputs and the state after the last step; what the backward needs besides the arguments."""


Kind = Literal["RNN", "LSTM", "GRU"]


def fused_kind(cell: Cell) -> Kind | None:
    """Which of the equations here are those of ``cell``; None for another cell."""
    kinds: dict[type[Cell], Kind] = {RNNCell: "RNN", LSTMCell: "LSTM", GRUCell: "GRU"}
    return kinds.get(type(cell))


def version() -> Version:
    """Which code runs the loops in this process; builds the native one if that has not been done."""
    return "python" if native.reason_missing() else "native"


def unsupported(x: Tensor, state: State, weights: Mapping[str, Tensor]) -> str:
    """Why `fused` cannot take these arguments here and now, or "" if it can.

    It takes float32 and float64 on a CPU, outside of torch.compile, tracing and export, torch.func's transforms,
    forward-mode derivatives and tensor subclasses: there the eager unroll is the way.
    """
    dtype = weights["weight_hh"].dtype
    if torch.compiler.is_compiling() or torch.jit.is_tracing():
        return "torch.compile, tracing and export need operators that they know"
    if torch._C._functorch.peek_interpreter_stack() is not None:
        return "torch.func's transforms need operators that they know"
    if _get_current_dispatch_mode() is not None:
        return "a dispatch mode is on"
    if forward_ad._current_level >= 0:
        return "forward-mode derivatives are not derived"
    if dtype not in (torch.float32, torch.float64):
        return f"weights are {dtype}, not float32 or float64"
    for number, tensor in enumerate((*weights.values(), x, *state)):  # in every call, so the cheapest questions
        given = type(tensor)
        if given is not torch.nn.Parameter and given is not Tensor:
            return f"{given.__name__} is a subclass of Tensor"
        if not tensor.is_cpu or tensor.layout is not torch.strided:
            return f"a tensor is {tensor.layout} on {tensor.device}"
        if tensor.dtype is not dtype:
            if number < len(weights):
                return "weights differ in dtype"
            if not torch.is_autocast_enabled("cpu"):
                return f"input or state are not {dtype} as the weights are"
    return ""


def fused(
    kind: Kind,
    x: Tensor,
    state: State,
    weights: Mapping[str, Tensor],
    nonlinearity: str = "tanh",
    reverse: bool = False,
    eager: Callable[[], Callable[[Tensor, State], Any]] | None = None,
    version: Version | None = None,
) -> tuple[Tensor, State]:
    """Read one chunk with one layer in one direction.

    All products and sums are computed in the weights' dtype, under bfloat16 autocast too, and outputs and state have
    that dtype. A backward with `create_graph` goes through `eager`, since the derivation by hand has no second
    derivative; without `eager` it raises a RuntimeError.

    Args:
        kind: which equations; an LSTM with a weight_hr is projected
        x: (K, B, E), K at least 1
        state: (h,), or (h, c) for an LSTM: (B, P) or (B, H) each
        weights: weight_ih (G H, E), weight_hh (G H, P or H), perhaps bias_ih and bias_hh (G H) and weight_hr (P, H),
            as torch.nn has them
        nonlinearity: of an RNN: tanh, relu or identity
        reverse: from the last step to the first
        eager: gives the same recurrence with these weights, as a function of x and state that autograd sees through
        version: `native` or `python`; None: native if it can be built

    Returns:
        outputs (K, B, D) in the order of x, and the state after the last step taken
    """
    loops = native.loops() if version is None else torch.ops.unrolled if version == "native" else reference
    dtype = weights["weight_hh"].dtype
    x = x if x.dtype is dtype else x.to(dtype)
    state = tuple([s if s.dtype is dtype else s.to(dtype) for s in state])
    trains = torch.is_grad_enabled() and any(t.requires_grad for t in (x, *state, *weights.values()))
    if x.shape[0] == 1 and not trains:
        with _full_precision():
            return _one_step(kind, loops, x, state, weights, nonlinearity)
    how: tuple[Any, ...] = (loops, reverse)
    names = ["weight_ih", "weight_hh", "bias_ih", "bias_hh"]
    function: Any
    if kind == "RNN":
        function = _RNN
        how = (*how, reference.NONLINEARITIES.index(nonlinearity))
    elif kind == "LSTM":
        function = _LSTM
        names.append("weight_hr")
    else:
        function = _GRU
    inputs = [x, *state, *(weights.get(name) for name in names)]
    if trains:
        again = None if eager is None else functools.partial(_differentiate_again, eager, len(state), inputs)
        outputs, *after = function.apply(_Loops(loops, again), *how[1:], *inputs)
    else:
        with _full_precision():
            outputs, *after = function.run(*how, False, *inputs)[0]
    return outputs, tuple(after)


def _one_step(
    kind: Kind, loops: Any, x: Tensor, state: State, weights: Mapping[str, Tensor], nonlinearity: str
) -> tuple[Tensor, State]:
    """A single time step x (1, B, E) without gradients, in as few operations as can be.

    The loops lay out the recurrent weights anew in each call, which takes longer than to use them once, so the product
    is made here; an LSTM's loop then gets a recurrence of no width.
    """
    h, U, bias_ih, bias_hh = state[0], weights["weight_hh"], weights.get("bias_ih"), weights.get("bias_hh")
    a = _affine(bias_ih, x[0], weights["weight_ih"])  # (B, G H)
    if kind == "RNN":
        a = _affine(bias_hh, h, U).add_(a)
        y = a.tanh_() if nonlinearity == "tanh" else a.relu_() if nonlinearity == "relu" else a
        return y.unsqueeze(0), (y.clone(),)
    if kind == "GRU":
        H = h.shape[1]
        q = _affine(bias_hh, h, U)
        r, z = q[:, : 2 * H].add_(a[:, : 2 * H]).sigmoid_().chunk(2, dim=1)
        n = a[:, 2 * H :].addcmul_(r, q[:, 2 * H :]).tanh_()
        y = torch.lerp(n, h, z)
        return y.unsqueeze(0), (y.clone(),)
    c, R = state[1].contiguous(), weights.get("weight_hr")
    a = a.addmm_(h, U.t()).unsqueeze(0)
    m, memory = torch.empty_like(c).unsqueeze(0), torch.empty_like(c)
    loops.lstm_forward(a, bias_hh, U[:, :0].contiguous(), None, h[:, :0], c, m, memory.unsqueeze(0), None, False, False)
    y = m[0] if R is None else torch.mm(m[0], R.t())
    return y.unsqueeze(0), (y.clone(), memory)


def _affine(bias: Tensor | None, x: Tensor, weight: Tensor) -> Tensor:
    return torch.mm(x, weight.t()) if bias is None else torch.addmm(bias, x, weight.t())


class _Loops:
    """The loops' functions, and how to differentiate what they compute through autograd."""

    def __init__(self, functions: Any, again: Callable[..., Any] | None) -> None:
        self.functions = functions
        self.again = again

    def __getattr__(self, name: str) -> Any:
        return getattr(self.functions, name)


def _differentiate_again(
    eager: Callable[[], Callable[[Tensor, State], Any]],
    states: int,
    inputs: list[Tensor | None],
    ctx: Any,
    grads: tuple[Tensor | None, ...],
) -> tuple[Any, ...]:
    """The gradients of ``inputs`` as functions that can be differentiated: the eager loop is run once more."""
    x, state = inputs[0], tuple(inputs[1 : 1 + states])
    outputs, after = eager()(x, state)  # type: ignore[arg-type]
    pairs = [(value, grad) for value, grad in zip((outputs, *after), grads, strict=True) if grad is not None]
    asked = ctx.needs_input_grad[-len(inputs) :]
    wanted = [tensor for tensor, needed in zip(inputs, asked, strict=True) if needed and tensor is not None]
    values, by_values = zip(*pairs, strict=True)
    found = iter(torch.autograd.grad(values, wanted, by_values, create_graph=True, allow_unused=True))
    others = len(ctx.needs_input_grad) - len(inputs)
    return (*[None] * others, *(next(found) if needed else None for needed in asked))


def _full_precision() -> AbstractContextManager[Any]:
    """Without autocast; to enter it costs more than a small product, so only where there is one to switch off."""
    return torch.autocast("cpu", enabled=False) if torch.is_autocast_enabled("cpu") else nullcontext()


def _by_hand(backward: Callable[..., Any]) -> Callable[..., Any]:
    """A backward whose own operations autograd does not see, and autocast leaves alone."""

    @functools.wraps(backward)
    def checked(ctx: Any, *grads: Tensor | None) -> Any:
        if torch.is_grad_enabled():
            again = ctx.how[0].again
            if again is None:
                raise RuntimeError(
                    "The engine fused has no second derivative, which create_graph=True asks for: use the engine eager."
                )
            return again(ctx, grads)
        with _full_precision():
            return backward(ctx, *grads)

    return checked


class _RNN(torch.autograd.Function):
    @staticmethod
    def run(
        loops: Any,
        reverse: bool,
        nonlinearity: int,
        save: bool,  # nothing but the outputs is needed
        x: Tensor,
        h0: Tensor,
        weight_ih: Tensor,
        weight_hh: Tensor,
        bias_ih: Tensor | None,
        bias_hh: Tensor | None,
    ) -> Results:
        bias, U, h = _sum(bias_ih, bias_hh), weight_hh.contiguous(), h0.contiguous()
        outputs = x.new_empty(*x.shape[:2], h0.shape[1])
        for steps in _blocks(outputs, h0.shape[1], reverse):
            part = outputs[steps]
            _input_product(x[steps], weight_ih, part)
            loops.rnn_forward(part, bias, U, h, nonlinearity, reverse)
            h = part[_last(reverse)]
        return (outputs, h.clone()), ()

    @staticmethod
    def forward(ctx: Any, loops: Any, reverse: bool, nonlinearity: int, *inputs: Any) -> Any:
        with _full_precision():
            results, _ = _RNN.run(loops, reverse, nonlinearity, True, *inputs)
        ctx.how = loops, reverse, nonlinearity
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*inputs[:4], results[0])
        return results

    @staticmethod
    @_by_hand
    def backward(ctx: Any, grad_outputs: Tensor | None, grad_last: Tensor | None) -> tuple[Any, ...]:
        loops, reverse, nonlinearity = ctx.how
        x, h0, weight_ih, weight_hh, outputs = ctx.saved_tensors
        need_x, _, need_ih, need_hh, *need_biases = ctx.needs_input_grad[3:]
        dy, dh, U = _rows(grad_outputs), _start(grad_last, h0), weight_hh.contiguous()
        dx = x.new_empty(x.shape) if need_x else None
        dW, dU = _WeightGradient(weight_ih, need_ih), _WeightGradient(weight_hh, need_hh)
        db = weight_hh.new_zeros(len(weight_hh)) if any(need_biases) else None
        blocks = _blocks(outputs, h0.shape[1], reverse)
        room = _room(outputs, h0.shape[1], blocks)
        for steps in reversed(blocks):
            da = _part(room, steps)
            part = None if dy is None else dy[steps]
            loops.rnn_backward(outputs[steps], U, part, dh, da, db, nonlinearity, reverse)
            _input_gradient(da, weight_ih, dx, steps)
            dW.add(x[steps], da)
            dU.add_before(outputs, h0, da, steps, reverse)
        return None, None, None, dx, dh, dW.total(), dU.total(), db, db


class _LSTM(torch.autograd.Function):
    @staticmethod
    def run(
        loops: Any,
        reverse: bool,
        save: bool,
        x: Tensor,
        h0: Tensor,
        c0: Tensor,
        weight_ih: Tensor,
        weight_hh: Tensor,
        bias_ih: Tensor | None,
        bias_hh: Tensor | None,
        weight_hr: Tensor | None,
    ) -> Results:
        bias, U, h, c = _sum(bias_ih, bias_hh), weight_hh.contiguous(), h0.contiguous(), c0.contiguous()
        R = None if weight_hr is None else weight_hr.contiguous()
        K, B = x.shape[:2]
        H = c0.shape[1]
        outputs = x.new_empty(K, B, h0.shape[1])
        blocks = _blocks(x, 4 * H, reverse)
        gates = x.new_empty(K, B, 4 * H) if save else _room(x, 4 * H, blocks)
        cells = x.new_empty(K, B, H) if save else x.new_empty(B, H).expand(K, -1, -1)
        hidden = None if R is None else torch.empty_like(cells) if save else x.new_empty(B, H).expand(K, -1, -1)
        for steps in blocks:
            a, y, memory = gates[steps] if save else _part(gates, steps), outputs[steps], cells[steps]
            _input_product(x[steps], weight_ih, a)
            m = None if hidden is None else hidden[steps]
            loops.lstm_forward(a, bias, U, R, h, c, y, memory, m, save, reverse)
            h, c = y[_last(reverse)], memory[_last(reverse)]
        return (outputs, h.clone(), c.clone()), (gates, cells, hidden)

    @staticmethod
    def forward(ctx: Any, loops: Any, reverse: bool, *inputs: Any) -> Any:
        with _full_precision():
            results, saved = _LSTM.run(loops, reverse, True, *inputs)
        x, h0, c0, weight_ih, weight_hh, _, _, weight_hr = inputs
        ctx.how = loops, reverse
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, h0, c0, weight_ih, weight_hh, weight_hr, results[0], *saved)
        return results

    @staticmethod
    @_by_hand
    def backward(
        ctx: Any, grad_outputs: Tensor | None, grad_h: Tensor | None, grad_c: Tensor | None
    ) -> tuple[Any, ...]:
        loops, reverse = ctx.how
        x, h0, c0, weight_ih, weight_hh, weight_hr, outputs, gates, cells, hidden = ctx.saved_tensors
        need_x, _, _, need_ih, need_hh, *need_biases, need_hr = ctx.needs_input_grad[2:]
        dy, dh, dc, U = _rows(grad_outputs), _start(grad_h, h0), _start(grad_c, c0), weight_hh.contiguous()
        R = None if weight_hr is None else weight_hr.contiguous()
        dx = x.new_empty(x.shape) if need_x else None
        dW, dU = _WeightGradient(weight_ih, need_ih), _WeightGradient(weight_hh, need_hh)
        dR = _WeightGradient(weight_hr, need_hr)
        db = weight_hh.new_zeros(len(weight_hh)) if any(need_biases) else None
        blocks = _blocks(x, gates.shape[2], reverse)
        room = _room(x, gates.shape[2], blocks)
        projected = None if R is None else _room(x, len(R), blocks)
        for steps in reversed(blocks):
            da, dp = _part(room, steps), None if projected is None else _part(projected, steps)
            before = _before(cells, steps, reverse)
            c = c0.contiguous() if before is None else before
            part = None if dy is None else dy[steps]
            loops.lstm_backward(gates[steps], cells[steps], c, U, R, part, dh, dc, da, dp, db, reverse)
            _input_gradient(da, weight_ih, dx, steps)
            dW.add(x[steps], da)
            dU.add_before(outputs, h0, da, steps, reverse)
            if dp is not None:
                dR.add(hidden[steps], dp)
        return None, None, dx, dh, dc, dW.total(), dU.total(), db, db, dR.total()


class _GRU(torch.autograd.Function):
    @staticmethod
    def run(
        loops: Any,
        reverse: bool,
        save: bool,
        x: Tensor,
        h0: Tensor,
        weight_ih: Tensor,
        weight_hh: Tensor,
        bias_ih: Tensor | None,
        bias_hh: Tensor | None,
    ) -> Results:
        U, h = weight_hh.contiguous(), h0.contiguous()
        K, B = x.shape[:2]
        H = h0.shape[1]
        bias = bias_hn = None
        if bias_ih is not None and bias_hh is not None:
            bias = torch.cat([bias_ih[: 2 * H] + bias_hh[: 2 * H], bias_ih[2 * H :]])
            bias_hn = bias_hh[2 * H :].contiguous()
        outputs = x.new_empty(K, B, H)
        blocks = _blocks(x, 4 * H, reverse)
        gates = x.new_empty(K, B, 3 * H) if save else _room(x, 3 * H, blocks)
        candidates = x.new_empty(K, B, H) if save else None
        for steps in blocks:
            a, y = gates[steps] if save else _part(gates, steps), outputs[steps]
            _input_product(x[steps], weight_ih, a)
            q = None if candidates is None else candidates[steps]
            loops.gru_forward(a, bias, bias_hn, U, h, y, q, reverse)
            h = y[_last(reverse)]
        return (outputs, h.clone()), (gates, candidates)

    @staticmethod
    def forward(ctx: Any, loops: Any, reverse: bool, *inputs: Any) -> Any:
        with _full_precision():
            results, saved = _GRU.run(loops, reverse, True, *inputs)
        ctx.how = loops, reverse
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*inputs[:4], results[0], *saved)
        return results

    @staticmethod
    @_by_hand
    def backward(ctx: Any, grad_outputs: Tensor | None, grad_last: Tensor | None) -> tuple[Any, ...]:
        loops, reverse = ctx.how
        x, h0, weight_ih, weight_hh, outputs, gates, candidates = ctx.saved_tensors
        need_x, _, need_ih, need_hh, *need_biases = ctx.needs_input_grad[2:]
        H = h0.shape[1]
        dy, dh, U = _rows(grad_outputs), _start(grad_last, h0), weight_hh.contiguous()
        dx = x.new_empty(x.shape) if need_x else None
        dW, dU = _WeightGradient(weight_ih, need_ih), _WeightGradient(weight_hh, need_hh)
        db = weight_hh.new_zeros(4 * H) if any(need_biases) else None
        blocks = _blocks(x, 4 * H, reverse)
        room = _room(x, 4 * H, blocks)
        for steps in reversed(blocks):
            da = _part(room, steps)  # dq, da_r, da_z, da_n
            before = _before(outputs, steps, reverse)
            h = h0.contiguous() if before is None else before
            part = None if dy is None else dy[steps]
            loops.gru_backward(gates[steps], candidates[steps], outputs[steps], h, U, part, dh, da, db, reverse)
            _input_gradient(da[..., H:], weight_ih, dx, steps)
            dW.add(x[steps], da[..., H:])
            dU.add_before(outputs, h0, da[..., : 3 * H], steps, reverse)
        recurrent, db_ih, db_hh = dU.total(), None, None
        if recurrent is not None:
            recurrent = recurrent.roll(-H, 0)  # from the order n, r, z to r, z, n
        if db is not None:
            db_ih, db_hh = db[H:], db[: 3 * H].roll(-H, 0)
        return None, None, dx, dh, dW.total(), recurrent, db_ih, db_hh


# ---- products over all steps of a block ------------------------------------------------------------------------------


def _input_product(x: Tensor, weight_ih: Tensor, out: Tensor) -> None:
    """W x_t for all steps: (K, B, G H)."""
    torch.mm(x.flatten(0, 1), weight_ih.t(), out=out.flatten(0, 1))


def _input_gradient(da: Tensor, weight_ih: Tensor, dx: Tensor | None, steps: slice) -> None:
    """Write the gradient of these steps' input into dx (K, B, E), if it is wanted."""
    if dx is not None:
        torch.mm(da.flatten(0, 1), weight_ih, out=dx[steps].flatten(0, 1))


class _WeightGradient:
    """The gradient of a weight, summed up over blocks: da^T inputs, each (N, S) over N steps and rows.

    It is computed the other way round, inputs^T da, which is up to twice as fast for the long and narrow.
    """

    def __init__(self, weight: Tensor | None, wanted: bool) -> None:
        self._turned = weight.new_zeros(weight.shape[1], weight.shape[0]) if wanted and weight is not None else None

    def add(self, inputs: Tensor, da: Tensor) -> None:
        if self._turned is not None:
            self._turned.addmm_(inputs.flatten(0, 1).t(), da.flatten(0, 1))

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


def _before(values: Tensor, steps: slice, reverse: bool) -> Tensor | None:
    """The value of the step before a block, or None if the block is the first."""
    if reverse:
        return values[steps.stop] if steps.stop < len(values) else None
    return values[steps.start - 1] if steps.start > 0 else None


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
