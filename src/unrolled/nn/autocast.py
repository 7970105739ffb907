"""Whether autocast is on, and in which precision: asked in one place, for torch 2.13 and for the 2.3 of torchtext."""

import torch


def autocast_dtype(device: str) -> torch.dtype | None:
    """The precision that autocast lowers to on devices of this type ("cpu", "cuda"); None where it is off."""
    if not hasattr(torch, "get_autocast_dtype"):  # before torch 2.4 each type of device had functions of its own
        if device == "cpu":
            return torch.get_autocast_cpu_dtype() if torch.is_autocast_cpu_enabled() else None
        return torch.get_autocast_gpu_dtype() if device == "cuda" and torch.is_autocast_enabled() else None
    available = torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)
    return torch.get_autocast_dtype(device) if available else None
