"""Distributed training: one process for each device."""

import os
import signal
import socket
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
from pytorch_lightning.plugins.environments import LightningEnvironment

from unrolled.errors import UserError
from unrolled.train.signals import interrupting_signal

BASIC_LAUNCHER = "BasicLauncher"  # Hydra's own: jobs one after another in this process
PARENT_VARIABLE = "UNROLLED_FIRST_PROCESS"  # its number, for the processes that it has started


def global_rank() -> int:
    """Which of the run's processes this is: 0 where it is the only one.

    torchrun says RANK, SLURM's srun SLURM_PROCID, the processes that `launched` starts are told LOCAL_RANK.
    """
    for name in ("RANK", "SLURM_PROCID", "LOCAL_RANK"):
        if name in os.environ:
            return int(os.environ[name])
    return 0


def overrides_of_rank() -> list[str]:
    """Hydra's settings for all processes but the first: write no file, log nothing."""
    return ["hydra.run.dir=.", "hydra.output_subdir=null", "hydra/job_logging=none"] if global_rank() else []


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
    """Inside, every device of ``trainer`` has its process; the body runs in all of them.

    Under torchrun and SLURM they are there already. Otherwise the first process starts the others, with the arguments
    of this job alone: Lightning's own launcher would start a sweep as a whole once more in each of them. It is called
    when data and settings have proved good, so that a mistake in them is met, and told, once. Where one process ends
    badly, all do.
    """
    environment = getattr(trainer.strategy, "cluster_environment", None)
    started = isinstance(environment, LightningEnvironment) and not environment.creates_processes_externally
    try:
        if trainer.world_size == 1 or not started:
            _end_with_the_first()
            yield
        else:
            if trainer.num_nodes > 1:
                raise UserError(
                    f"trainer.num_nodes={trainer.num_nodes}: start the processes of several machines with torchrun "
                    "or with SLURM's srun"
                )
            with _started(trainer.world_size):
                yield
    finally:
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()  # the next job of a sweep makes its own


@contextmanager
def _started(count: int) -> Iterator[None]:
    variables = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(_free_port()),
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
            env={
                **os.environ,
                "LOCAL_RANK": str(rank),
                "OMP_NUM_THREADS": threads,
                PARENT_VARIABLE: str(os.getpid()),
            },
        )
        for rank in range(1, count)
    ]
    watch = _Watch(others)
    watch.start()
    try:
        yield
        with suppress(subprocess.TimeoutExpired):
            _wait(others, seconds=60)
    except BaseException as error:
        watch.finished.set()
        told = interrupting_signal(error) is not None and not watch.asked
        if told:  # all of them stop by themselves, once their checkpoints are written
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
        _end(others)


class _Watch(threading.Thread):
    """Ends this process, too, when one of the others ends badly: it might wait for it forever."""

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


def _end_with_the_first() -> None:
    """In a process that another one has started: go when that one has gone."""
    first = os.environ.get(PARENT_VARIABLE)
    if first is None:
        return

    def look() -> None:
        while os.getppid() == int(first):
            time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=look, daemon=True).start()


def _wait(others: Sequence[subprocess.Popen[bytes]], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    for other in others:
        other.wait(max(deadline - time.monotonic(), 0.1))


def _end(others: Sequence[subprocess.Popen[bytes]]) -> None:
    for other in others:
        if other.poll() is None:
            other.kill()  # it would only complain that it was left alone
        other.wait()


def _free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])
