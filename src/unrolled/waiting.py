"""How threads of torch wait for each other: looking on, or asleep while others want the processors.

Threads meet at the end of every parallel operator. By the rule of GNU's OpenMP whoever comes first looks on for about
3 ms and then sleeps, which is best on an idle machine: to wake a thread takes 0.1 ms. Where another program wants the
same processors, looking on takes them from it, and from the very thread that is waited for.

A process with more OpenMP threads than there are processors looks on for a microsecond only (GOMP_SPINCOUNT in the
manual of GNU's OpenMP). So as long as threads of this process have to wait for a processor, it keeps one more team,
which does nothing.
"""

import functools
import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

log = logging.getLogger(__name__)

VARIABLES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")  # by which a user decides; then nothing is done here
LOOK_EVERY = 0.2  # seconds
CROWDED = 0.05  # of the time: how long threads may wait for a processor, all together, on a machine called idle
LASTING_LOOKS = 50  # after which it is said once
CALM_LOOKS = 5  # one after the other, after which the machine is called idle again
TASKS = Path("/proc/self/task")


def choose_waiting() -> None:
    """Say to OpenMP, before torch is imported, how to wait where nobody can tell whether the processors are wanted.

    Looking on for 0.1 ms is a compromise: it bridges most of what a training step does on one thread.
    """
    if _left_to_us() and not _can_be_told():
        os.environ["GOMP_SPINCOUNT"] = "10000"


def watch_processors() -> None:
    """From now on threads of this process sleep while they wait, as long as others want the processors."""
    global _watch
    if _watch is None and _left_to_us() and _can_be_told():
        _watch = Thread(target=_keep_watch, name="processors", daemon=True)
        _watch.start()


_watch: Thread | None = None


def seconds_kept_waiting() -> float:
    """How long the threads that this process has now were ready to run, but had no processor, all together."""
    total = 0
    for task in TASKS.iterdir():
        try:
            total += int((task / "schedstat").read_text().split()[1])
        except (FileNotFoundError, ProcessLookupError):  # it has just ended
            continue
    return total / 1e9


@contextmanager
def asleep() -> Iterator[None]:
    """Inside, torch's threads that wait for each other sleep, in every thread of this process."""
    there, leave = Event(), Event()

    def crowd() -> None:
        _open_teams(len(os.sched_getaffinity(0)))
        there.set()
        leave.wait()

    team = Thread(target=crowd, name="crowd", daemon=True)  # its teams end with it
    team.start()
    there.wait()
    try:
        yield
    finally:
        leave.set()
        team.join()


def _keep_watch() -> None:
    while True:
        _wait_until_crowded()
        with asleep():
            _wait_until_calm()


def _wait_until_crowded() -> None:
    while not (_crowded() and _several_threads()):
        pass


def _wait_until_calm() -> None:
    calm = looks = 0
    while calm < CALM_LOOKS:
        calm, looks = 0 if _crowded() else calm + 1, looks + 1
        if looks == LASTING_LOOKS:
            _say_once()


@functools.cache
def _say_once() -> None:
    log.info(
        "Other programs want this machine's processors, so threads that wait for one another sleep. Where most of the "
        "processors are taken, threads=1 is faster."
    )


def _crowded() -> bool:
    """Whether, in the `LOOK_EVERY` seconds to come, threads of this process wait for a processor."""
    began, before = time.perf_counter(), seconds_kept_waiting()
    time.sleep(LOOK_EVERY)
    return seconds_kept_waiting() - before > CROWDED * (time.perf_counter() - began)


def _several_threads() -> bool:
    """Whether torch has been imported, and computes on more than one thread.

    A thread that has asked once gets the same answer ever after, so a new one asks.
    """
    answers: list[int] = []
    ask = getattr(sys.modules.get("torch"), "get_num_threads", lambda: 1)
    asking = Thread(target=lambda: answers.append(ask()))
    asking.start()
    asking.join()
    return answers[0] > 1


def _open_teams(threads: int) -> None:
    """A parallel region of each GNU OpenMP that has been loaded, in which every thread frees nothing.

    torch and scikit-learn bring one of their own each.
    """
    import ctypes

    nothing = ctypes.cast(ctypes.CDLL(None).free, ctypes.c_void_p)
    files = {line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines()}
    for file in files:
        if Path(file).name.startswith("libgomp"):
            parallel = ctypes.CDLL(file).GOMP_parallel
            parallel.argtypes, parallel.restype = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint], None
            parallel(nothing, None, threads, 0)


def _left_to_us() -> bool:
    return not any(name in os.environ for name in VARIABLES)


def _can_be_told() -> bool:
    """Whether the kernel counts how long threads wait, as Linux does."""
    return (TASKS / str(os.getpid()) / "schedstat").is_file()
