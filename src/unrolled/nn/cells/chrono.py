"""First values of gate biases for memories of a chosen span (Tallec & Ollivier 2018)."""

import torch
from torch import Tensor


def check_chrono(chrono: int | None, bias: bool) -> None:
    """Raises ValueError where ``chrono`` is below 2 time steps, or there are no biases to set."""
    if chrono is None:
        return
    if chrono < 2:
        raise ValueError(f"chrono={chrono}: the longest span of the memory, at least 2 time steps")
    if not bias:
        raise ValueError(f"chrono={chrono} needs bias=True: without biases there is none to set")


def chrono_bias(like: Tensor, chrono: int) -> Tensor:
    """log u with u uniform in 1 .. chrono - 1, in the shape of ``like``.

    A gate sigmoid(log u) forgets 1 / (1 + u) of its memory at every step,
    so the units' memories start with spans of 2 to ``chrono`` time steps.
    """
    return torch.empty_like(like).uniform_(1, chrono - 1).log()
