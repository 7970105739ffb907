"""Checks of the arguments and inputs of a recurrence, which raise the same exceptions as torch.nn."""

import warnings
from typing import Any

import torch
from torch import Tensor

from unrolled.nn.autocast import autocast_dtype
from unrolled.nn.cells import State


def check_arguments(
    name: str, input_size: Any, hidden_size: Any, num_layers: Any, bias: Any, batch_first: Any, dropout: Any
) -> None:
    """The constructor's arguments.

    Raises:
        TypeError: `bias` or `batch_first` is no bool, or a size no int
        ValueError: a size is not positive, or `dropout` no number from 0 to 1
    """
    check_rate(f"{name}: dropout", dropout)
    for key, value in {"bias": bias, "batch_first": batch_first}.items():
        if not isinstance(value, bool):
            raise TypeError(f"{name}: {key} must be True or False, got {value!r}")
    for key, value in {"input_size": input_size, "hidden_size": hidden_size}.items():
        if not isinstance(value, int):
            raise TypeError(f"{name}: {key} must be an int, got {value!r}")
    for key, value in {"input_size": input_size, "hidden_size": hidden_size, "num_layers": num_layers}.items():
        if value <= 0:
            raise ValueError(f"{name}: {key} must be at least 1, got {value}")
    if dropout > 0 and num_layers == 1:
        warnings.warn(
            f"{name}: dropout acts between layers, so dropout={dropout} with num_layers=1 does nothing", stacklevel=4
        )


def check_rate(name: str, rate: Any) -> None:
    """A probability, 1 included as in torch.nn. Raises: ValueError."""
    if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not 0 <= rate <= 1:
        raise ValueError(f"{name} must be a number from 0 to 1, the share of elements dropped, got {rate!r}")


def check_input(name: str, x: Tensor, input_size: int, dtype: torch.dtype, steps: int) -> None:
    """The input's dtype and sizes.

    Raises:
        ValueError: its dtype is not that of the weights, and autocast is off
        RuntimeError: it has another number of features than `input_size`, or no time step
    """
    if x.dtype != dtype and autocast_dtype(x.device.type) is None:
        raise ValueError(f"{name}: input is {x.dtype} and the weights are {dtype}; convert one, e.g. input.to({dtype})")
    if x.size(-1) != input_size:
        raise RuntimeError(f"{name}: input must have input_size={input_size} features, got {x.size(-1)}")
    if steps == 0:
        raise RuntimeError(f"{name}: input must have at least one time step, got {tuple(x.shape)}")


def check_state(name: str, state: State, shapes: list[tuple[int, ...]], dtype: torch.dtype, like: Tensor) -> None:
    """The initial state's shapes and dtype. Raises: RuntimeError."""
    got = [tuple(s.size()) for s in state]
    if got != shapes:
        raise RuntimeError(f"{name}: the initial state must have the shapes {shapes}, got {got}")
    if any(s.dtype != dtype for s in state) and autocast_dtype(like.device.type) is None:
        raise RuntimeError(f"{name}: the initial state must be {dtype} as the weights, got {state[0].dtype}")
