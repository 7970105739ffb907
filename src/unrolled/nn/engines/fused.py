"""The engine `fused`: RNN, LSTM, LSTMP and GRU over one chunk on a CPU, with backpropagation through time by hand.

A chunk takes one product for the input of all steps, a loop over time with one recurrent product a step, and, in the
backward, the same loop reversed and one product for each weight. The loops are native code (recurrences.cpp) or, where
none can be built, Python (reference.py); the derivation is in the latter. by_hand.py holds the products around them.
"""

import functools
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.utils._python_dispatch import _get_current_dispatch_mode

from unrolled.nn.cells import Cell, GRUCell, LSTMCell, RNNCell, State
from unrolled.nn.engines import native, reference
from unrolled.nn.engines.by_hand import GRU, LSTM, RNN, ByHand
from unrolled.nn.engines.one_step import one_step

Version = Literal["native", "python"]
Kind = Literal["RNN", "LSTM", "GRU"]
BY_HAND: dict[Kind, type[ByHand]] = {"RNN": RNN, "LSTM": LSTM, "GRU": GRU}


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
            return one_step(kind, loops, x, state, weights, nonlinearity)
    recurrence = BY_HAND[kind](loops, reverse, nonlinearity)
    inputs = [x, *state, *map(weights.get, recurrence.weights)]
    if trains:
        again = None if eager is None else functools.partial(_differentiate_again, eager, len(state), inputs)
        outputs, *after = _Chunk.apply(recurrence, again, *inputs)
    else:
        with _full_precision():
            outputs, *after = recurrence.read(inputs, save=False)[0]
    return outputs, tuple(after)


class _Chunk(torch.autograd.Function):
    """A chunk as one node of the graph, whose gradients are derived by hand."""

    @staticmethod
    def forward(ctx: Any, recurrence: ByHand, again: Callable[..., Any] | None, *inputs: Any) -> Any:
        with _full_precision():
            results, saved = recurrence.read(inputs, save=True)
        ctx.recurrence, ctx.again = recurrence, again
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*inputs, results[0], *saved)
        return results

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> Any:
        if torch.is_grad_enabled():
            if ctx.again is None:
                raise RuntimeError(
                    "The engine fused has no second derivative, which create_graph=True asks for: use the engine eager."
                )
            return None, None, *ctx.again(ctx.needs_input_grad[2:], grads)
        needed = ctx.recurrence.needed(ctx.needs_input_grad[2:])
        with _full_precision():
            return None, None, *ctx.recurrence.gradients(needed, ctx.saved_tensors, grads)


def _differentiate_again(
    eager: Callable[[], Callable[[Tensor, State], Any]],
    states: int,
    inputs: list[Tensor | None],
    asked: tuple[bool, ...],
    grads: tuple[Tensor | None, ...],
) -> tuple[Tensor | None, ...]:
    """The gradients of ``inputs`` as functions that can be differentiated: the eager loop is run once more."""
    x, state = inputs[0], tuple(inputs[1 : 1 + states])
    outputs, after = eager()(x, state)  # type: ignore[arg-type]
    pairs = [(value, grad) for value, grad in zip((outputs, *after), grads, strict=True) if grad is not None]
    wanted = [tensor for tensor, needed in zip(inputs, asked, strict=True) if needed and tensor is not None]
    values, by_values = zip(*pairs, strict=True)
    found = iter(torch.autograd.grad(values, wanted, by_values, create_graph=True, allow_unused=True))
    return tuple(next(found) if needed else None for needed in asked)


def _full_precision() -> AbstractContextManager[Any]:
    """Without autocast; to enter it costs more than a small product, so only where there is one to switch off."""
    return torch.autocast("cpu", enabled=False) if torch.is_autocast_enabled("cpu") else nullcontext()
