"""Measurement of a run's peak memory."""

import resource
import sys
from pathlib import Path

import torch

MIB = 2**20


def reset_peak_memory(device: torch.device) -> None:
    """Forget earlier peaks, so that a run is not charged with the one before it in the same process."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    try:
        Path("/proc/self/clear_refs").write_text("5")  # Linux: the high-water mark falls back to the present size
    except OSError:
        return  # no such switch here: the peak is the process's, and can only be too high


def peak_memory_mb(device: torch.device) -> float:
    """Peak memory in MiB since the last reset: allocated by torch on CUDA, resident memory of the process on CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / MIB
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        status = ""
    for line in status.splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024  # the kernel counts in KiB
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / MIB if sys.platform == "darwin" else peak / 1024  # macOS counts bytes, Linux KiB
