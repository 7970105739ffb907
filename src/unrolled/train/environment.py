"""Hardware and software that a run took place on."""

import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

PACKAGES = ("unrolled", "torch", "pytorch-lightning", "torchmetrics", "hydra-core", "omegaconf", "numpy", "tensorboard")

# Set for jobs that share the machine with others (parallel launchers), so that their timings are marked.
PARALLEL_VARIABLE = "UNROLLED_PARALLEL_JOBS"


def describe_environment(device: torch.device | str = "cpu", precision: str = "32-true") -> dict[str, Any]:
    """Device, threads, versions, commit and platform, as plain containers; neither host nor user name.

    precision: as the trainer has it. ``timed_in_parallel`` says that other jobs ran at the same time on this machine.
    """
    device = torch.device(device)
    return {
        "device": device.type,
        "device_name": _device_name(device),
        "precision": precision,
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "timed_in_parallel": int(os.environ.get(PARALLEL_VARIABLE) or 1) > 1,
        "platform": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: version for name in PACKAGES if (version := _version(name)) is not None}
        | {"torch": str(torch.__version__)},  # with its build, such as +cpu, which the metadata need not name
        "git": git_commit(),
    }


def git_commit() -> dict[str, Any] | None:
    """The commit that this package's source is at and whether the tree differs from it; None outside a repository."""
    here = Path(__file__).resolve()
    try:
        _git(here.parent, "ls-files", "--error-unmatch", here.name)  # fails for an installed copy in another repository
        commit = _git(here.parent, "rev-parse", "HEAD")
        changed = _git(here.parent, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return None
    return {"commit": commit, "changed": bool(changed)}


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    return answer.stdout.strip()


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
