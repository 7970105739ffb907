"""The engine `fused`: RNN, LSTM, LSTMP and GRU over one chunk on a CPU, with backpropagation through time by hand.

A chunk takes one product for the input of all steps, a loop over time with one recurrent product a step, and, in the
backward, the same loop reversed and one product for each weight. The loops are native code (recurrences.cpp) or, where
none can be built, Python (reference.py); the derivation is in the latter.
"""

import functools
from collections.abc import Callable, Mapping
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
    for tensor in (x, *state, *weights.values()):
        if type(tensor) not in (Tensor, torch.nn.Parameter):
            return f"{type(tensor).__name__} is a subclass of Tensor"
        if tensor.device.type != "cpu" or tensor.layout != torch.strided:
            return f"a tensor is {tensor.layout} on {tensor.device}"
    if any(weight.dtype != dtype for weight in weights.values()):
        return "weights differ in dtype"
    if not torch.is_autocast_enabled("cpu") and any(tensor.dtype != dtype for tensor in (x, *state)):
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
    dtype = weights["weight_hh"].dtype
    inputs = [x.to(dtype), *(s.to(dtype) for s in state), *(weights.get(name) for name in names)]
    if torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in inputs):
        again = None if eager is None else functools.partial(_differentiate_again, eager, len(state), inputs)
        outputs, *after = function.apply(_Loops(loops, again), *how[1:], *inputs)
    else:
        with torch.autocast("cpu", enabled=False):
            outputs, *after = function.run(*how, False, *inputs)[0]
    return outputs, tuple(after)


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
        with torch.autocast("cpu", enabled=False):
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
        outputs = _input_product(x, weight_ih)
        loops.rnn_forward(
            outputs, _sum(bias_ih, bias_hh), weight_hh.contiguous(), h0.contiguous(), nonlinearity, reverse
        )
        return (outputs, outputs[_last(reverse)].clone()), ()

    @staticmethod
    def forward(ctx: Any, loops: Any, reverse: bool, nonlinearity: int, *inputs: Any) -> Any:
        with torch.autocast("cpu", enabled=False):
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
        da = torch.empty_like(outputs)
        dh = _start(grad_last, h0)
        db = weight_hh.new_empty(len(weight_hh)) if any(need_biases) else None
        loops.rnn_backward(outputs, weight_hh.contiguous(), _rows(grad_outputs), dh, da, db, nonlinearity, reverse)
        dx, dW = _input_gradients(da, x, weight_ih, need_x, need_ih)
        dU = _recurrent_gradient(da, outputs, h0, reverse) if need_hh else None
        return None, None, None, dx, dh, dW, dU, db, db


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
        gates = _input_product(x, weight_ih)
        K, B = x.shape[:2]
        outputs = x.new_empty(K, B, h0.shape[1])
        cells = _each_step(c0, K, save)
        hidden = None if weight_hr is None else _each_step(c0, K, save)
        loops.lstm_forward(
            gates,
            _sum(bias_ih, bias_hh),
            weight_hh.contiguous(),
            None if weight_hr is None else weight_hr.contiguous(),
            h0.contiguous(),
            c0.contiguous(),
            outputs,
            cells,
            hidden,
            save,
            reverse,
        )
        last = _last(reverse)
        return (outputs, outputs[last].clone(), cells[last].clone()), (gates, cells, hidden)

    @staticmethod
    def forward(ctx: Any, loops: Any, reverse: bool, *inputs: Any) -> Any:
        with torch.autocast("cpu", enabled=False):
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
        da = torch.empty_like(gates)
        dh, dc = _start(grad_h, h0), _start(grad_c, c0)
        dp = None if weight_hr is None else torch.empty_like(outputs)
        db = weight_hh.new_empty(len(weight_hh)) if any(need_biases) else None
        loops.lstm_backward(
            gates,
            cells,
            c0.contiguous(),
            weight_hh.contiguous(),
            None if weight_hr is None else weight_hr.contiguous(),
            _rows(grad_outputs),
            dh,
            dc,
            da,
            dp,
            db,
            reverse,
        )
        dx, dW = _input_gradients(da, x, weight_ih, need_x, need_ih)
        dU = _recurrent_gradient(da, outputs, h0, reverse) if need_hh else None
        dR = dp.flatten(0, 1).t() @ hidden.flatten(0, 1) if dp is not None and need_hr else None
        return None, None, dx, dh, dc, dW, dU, db, db, dR


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
        gates = _input_product(x, weight_ih)
        outputs = x.new_empty(*x.shape[:2], h0.shape[1])
        candidates = torch.empty_like(outputs) if save else None
        bias, bias_hn = bias_ih, None
        if bias_ih is not None and bias_hh is not None:
            r_z = 2 * h0.shape[1]
            bias = torch.cat([bias_ih[:r_z] + bias_hh[:r_z], bias_ih[r_z:]])
            bias_hn = bias_hh[r_z:].contiguous()
        loops.gru_forward(gates, bias, bias_hn, weight_hh.contiguous(), h0.contiguous(), outputs, candidates, reverse)
        return (outputs, outputs[_last(reverse)].clone()), (gates, candidates)

    @staticmethod
    def forward(ctx: Any, loops: Any, reverse: bool, *inputs: Any) -> Any:
        with torch.autocast("cpu", enabled=False):
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
        need_x, _, need_ih, need_hh, need_bias_ih, need_bias_hh = ctx.needs_input_grad[2:]
        K, B, H = outputs.shape
        parts = outputs.new_empty(K, B, 4 * H)  # dq, da_r, da_z, da_n
        dh = _start(grad_last, h0)
        db = outputs.new_empty(4 * H) if need_bias_ih or need_bias_hh else None
        loops.gru_backward(
            gates,
            candidates,
            outputs,
            h0.contiguous(),
            weight_hh.contiguous(),
            _rows(grad_outputs),
            dh,
            parts,
            db,
            reverse,
        )
        dx, dW = _input_gradients(parts[..., H:], x, weight_ih, need_x, need_ih)
        dU = _recurrent_gradient(parts[..., : 3 * H], outputs, h0, reverse).roll(-H, 0) if need_hh else None
        db_ih = db_hh = None
        if db is not None:
            db_ih, db_hh = db[H:], db[: 3 * H].roll(-H, 0)
        return None, None, dx, dh, dW, dU, db_ih, db_hh


# ---- products over all steps, and small matters that the three share -------------------------------------------------


def _input_product(x: Tensor, weight_ih: Tensor) -> Tensor:
    """W x_t for all steps: (K, B, G H)."""
    return (x.flatten(0, 1) @ weight_ih.t()).unflatten(0, x.shape[:2])


def _input_gradients(
    da: Tensor, x: Tensor, weight_ih: Tensor, need_x: bool, need_weight: bool
) -> tuple[Tensor | None, Tensor | None]:
    """The gradients of x, (K, B, E), and of weight_ih, from those of the gates."""
    da = da.flatten(0, 1)
    dx = (da @ weight_ih).unflatten(0, x.shape[:2]) if need_x else None
    return dx, da.t() @ x.flatten(0, 1) if need_weight else None


def _recurrent_gradient(da: Tensor, outputs: Tensor, h0: Tensor, reverse: bool) -> Tensor:
    """The gradient of weight_hh: each step's da with the output of the step before."""
    first, rest, before = (da[-1], da[:-1], outputs[1:]) if reverse else (da[0], da[1:], outputs[:-1])
    return (first.t() @ h0).addmm_(rest.flatten(0, 1).t(), before.flatten(0, 1))


def _sum(bias_ih: Tensor | None, bias_hh: Tensor | None) -> Tensor | None:
    return None if bias_ih is None or bias_hh is None else bias_ih + bias_hh


def _last(reverse: bool) -> int:
    return 0 if reverse else -1


def _each_step(like: Tensor, steps: int, save: bool) -> Tensor:
    """Room for a value of every step, or, if it need not be saved, one step's room over and over: (K, B, S)."""
    return like.new_empty(steps, *like.shape) if save else like.new_empty(like.shape).expand(steps, -1, -1)


def _start(grad_last: Tensor | None, state: Tensor) -> Tensor:
    """A tensor to work in, with the gradient of the last state in it: (B, S)."""
    if grad_last is None:
        return torch.zeros_like(state, memory_format=torch.contiguous_format)
    return grad_last.clone(memory_format=torch.contiguous_format)


def _rows(grad: Tensor | None) -> Tensor | None:
    """The loops take any strides of time and row, so that the gradient of a sum or a mean over time is not copied."""
    return grad if grad is None or grad.shape[-1] == 1 or grad.stride(-1) == 1 else grad.contiguous()
