"""The functions of passes.cpp, and which tensors they take; for others torch's operators give the same results."""

import contextlib
import ctypes
import functools
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

import torch
from torch import Tensor
from torch.utils._python_dispatch import _get_current_dispatch_mode

from unrolled.nn.engines import native

log = logging.getLogger(__name__)

WORTH = 2**16  # elements that are worth another thread


class _Pointer(ctypes.c_void_p):
    """An argument that is a tensor's memory, null for None."""

    @classmethod
    def from_param(cls, x: Tensor | None) -> Self:
        return cls(None if x is None else x.data_ptr())


_TYPES = {"p": _Pointer, "i": ctypes.c_int64, "d": ctypes.c_double}
_PARAMETERS = {
    "drop": "pppiidi",
    "largest": "ppiiipppi",
    "catch_up": "ppppppiii",
    "adamw": "pppppppiiiddddddi",
}
AS_WRITTEN = ("-ffp-contract=off",)  # the compiler must not join a product and a sum that torch rounds one by one


def passes(*tensors: Tensor) -> ctypes.CDLL | None:
    """The functions, if they can take ``tensors`` here and now: contiguous, float32, on a CPU, unseen by autograd."""
    for x in tensors:
        if type(x) not in (Tensor, torch.nn.Parameter) or x.device.type != "cpu" or x.layout is not torch.strided:
            return None
        if x.dtype is not torch.float32 or not x.is_contiguous():
            return None
    if torch.is_grad_enabled() or torch.compiler.is_compiling() or torch.jit.is_tracing():
        return None
    if _get_current_dispatch_mode() is not None or torch._C._functorch.peek_interpreter_stack() is not None:
        return None
    return library()


def threads(elements: int) -> int:
    """How many threads a pass over so many elements is worth."""
    return min(torch.get_num_threads(), elements // WORTH + 1)


@contextlib.contextmanager
def few_threads(tensors: Sequence[Tensor]) -> Iterator[None]:
    """No more threads than are worth it for operators that take one of ``tensors`` after the other.

    torch's fused optimizers take all there are for each weight, however small.
    """
    before = torch.get_num_threads()
    worth = threads(sum(x.numel() for x in tensors) // max(len(tensors), 1))
    if worth == before:
        yield
        return
    torch.set_num_threads(worth)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@functools.cache
def library() -> ctypes.CDLL | None:
    """All the functions, built if that has not been done; None where they cannot be."""
    try:
        functions = ctypes.CDLL(str(native.built(Path(__file__).with_suffix(".cpp"), more=AS_WRITTEN)))
    except native.FAILURES as error:
        log.info("The native passes cannot be built here (%s), so torch's operators run.", str(error).split("\n")[0])
        return None
    for name, letters in _PARAMETERS.items():
        function = getattr(functions, name)
        function.restype, function.argtypes = None, [_TYPES[letter] for letter in letters]
    return functions
