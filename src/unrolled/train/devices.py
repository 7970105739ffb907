"""Distributed training: one process for each device."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from lightning_fabric.plugins.environments.lightning import find_free_network_port
from pytorch_lightning.plugins.environments import LightningEnvironment

from unrolled.errors import UserError
from unrolled.train.signals import interrupting_signal

BASIC_LAUNCHER = "BasicLauncher"  # Hydra's own: jobs one after another in this process
PARENT_VARIABLE = "UNROLLED_FIRST_PROCESS"  # environment variable: process id of rank 0, for the ranks that it starts


def global_rank() -> int:
    """Global rank of this process, 0 where it is the only one.

    torchrun sets RANK, SLURM's srun SLURM_PROCID, and `launch_processes` LOCAL_RANK.
    """
    for name in ("RANK", "SLURM_PROCID", "LOCAL_RANK"):
        if name in os.environ:
            return int(os.environ[name])
    return 0


def overrides_of_rank() -> list[str]:
    """Hydra's settings for all processes but the first: write no file, log nothing."""
    quiet = ["hydra/job_logging=none", "hydra/hydra_logging=none"]
    return ["hydra.run.dir=.", "hydra.output_subdir=null", *quiet] if global_rank() else []


def of_all_devices(own: Any) -> list[Any]:
    """Gather ``own`` of every device, by rank; the same list on each. To be called on all of them."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return [own]
    every: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(every, own)
    return every


def check_launcher(devices: Any) -> None:
    """Refuse a sweep whose jobs would start processes inside the processes of a parallel launcher."""
    hydra = HydraConfig.get()
    several = isinstance(devices, int) and devices > 1
    parallel = not str(hydra.launcher.get("_target_", "")).endswith(BASIC_LAUNCHER)
    managed = "submitit_slurm" in str(hydra.runtime.choices.get("hydra/launcher", ""))  # srun starts the processes
    if hydra.mode == RunMode.MULTIRUN and several and parallel and not managed:
        raise UserError(
            f"trainer.devices={devices}: a sweep over several devices runs one job after another; leave out "
            f"hydra/launcher={hydra.runtime.choices.get('hydra/launcher')}, or set trainer.devices=1"
        )


@contextmanager
def launch_processes(trainer: pl.Trainer) -> Iterator[None]:
    """Inside, every device of ``trainer`` has its process, and the body runs in all of them.

    torchrun and SLURM have started them already. Otherwise rank 0 starts the other ranks with the arguments of this job
    alone: Lightning's own launcher would start a whole sweep once more in each of them. It does so when data and
    settings have been checked, so that a mistake in them is reported once. Where one process fails, all end.
    """
    environment = getattr(trainer.strategy, "cluster_environment", None)
    ours = isinstance(environment, LightningEnvironment) and not environment.creates_processes_externally
    try:
        if trainer.world_size == 1 or not ours:
            _exit_with_rank_0()
            yield
        else:
            if trainer.num_nodes > 1:
                raise UserError(
                    f"trainer.num_nodes={trainer.num_nodes}: start the processes of several machines with torchrun "
                    "or with SLURM's srun"
                )
            with _other_ranks(trainer.world_size):
                yield
    finally:
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()  # the next job of a sweep makes its own


@contextmanager
def _other_ranks(count: int) -> Iterator[None]:
    """Start ranks 1 to ``count`` - 1, and wait for them at the end."""
    variables = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(find_free_network_port()),
        "NODE_RANK": "0",
        "LOCAL_RANK": "0",
        "WORLD_SIZE": str(count),
    }
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    threads = os.environ.get("OMP_NUM_THREADS", str(max((os.cpu_count() or 1) // count, 1)))
    command = [sys.executable, sys.argv[0], *HydraConfig.get().overrides.task]
    others = [
        subprocess.Popen(
            command,
            env={**os.environ, "LOCAL_RANK": str(rank), "OMP_NUM_THREADS": threads, PARENT_VARIABLE: str(os.getpid())},
        )
        for rank in range(1, count)
    ]
    watch = _Watchdog(others)
    watch.start()
    try:
        yield
        with suppress(subprocess.TimeoutExpired):
            _wait(others, seconds=60)
    except BaseException as error:
        watch.finished.set()
        stopped = interrupting_signal(error) is not None and not watch.asked
        if stopped:  # all ranks stop by themselves, once their checkpoints are written
            with suppress(subprocess.TimeoutExpired):
                _wait(others, seconds=20)
        elif watch.failed is not None:
            rank, status = watch.failed
            raise RuntimeError(f"process {rank} of {count} ended with status {status}; see above for why") from error
        raise
    finally:
        watch.finished.set()
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        for other in others:
            if other.poll() is None:
                other.kill()  # it would only complain that it was left alone
            other.wait()


class _Watchdog(threading.Thread):
    """Ends rank 0 when another rank has failed, which rank 0 might otherwise wait for forever."""

    def __init__(self, others: Sequence[subprocess.Popen[bytes]], patience: float = 30.0) -> None:
        super().__init__(daemon=True)
        self.others = others
        self.patience = patience  # seconds between asking politely and not
        self.finished = threading.Event()
        self.failed: tuple[int, int] | None = None
        self.asked = False  # this process to stop

    def run(self) -> None:
        while not self.finished.wait(0.2):
            for rank, other in enumerate(self.others, start=1):
                status = other.poll()
                if status:
                    self.failed = (rank, status)
                    break
            if self.failed is not None:
                break
        for number in (signal.SIGTERM, signal.SIGTERM):  # held until a step ends; the second one is not
            if self.finished.wait(self.patience / 2):
                return
            self.asked = True
            os.kill(os.getpid(), number)
        if not self.finished.wait(self.patience):
            os._exit(1)  # inside a collective operation that will never end


def _exit_with_rank_0() -> None:
    """In a process that rank 0 has started: exit when rank 0 has exited."""
    first = os.environ.get(PARENT_VARIABLE)
    if first is None:
        return

    def watch() -> None:
        while os.getppid() == int(first):
            time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _wait(others: Sequence[subprocess.Popen[bytes]], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    for other in others:
        other.wait(max(deadline - time.monotonic(), 0.1))
