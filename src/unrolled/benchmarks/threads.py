"""Training speed with several threads, on an idle machine and on one whose cores are taken in part.

Threads meet at the end of every parallel operator, and whoever comes first waits. Spinning saves the time of being
woken, but takes the core away from the thread that is waited for wherever something else runs on the machine, too.
"""

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from unrolled.benchmarks.start import TRAIN
from unrolled.places import PROJECT
from unrolled.train.results import load_result
from unrolled.waiting import VARIABLES

SPINS = (300000, 10000, 1000)  # the first is what GNU's OpenMP does if it is told nothing


def ways_of_waiting(spins: Sequence[int]) -> dict[str, Mapping[str, str]]:
    """How GNU's OpenMP waits: as `unrolled.waiting` has it, by looking on so often before it sleeps, or asleep."""
    counts = {f"spin {count}": {"GOMP_SPINCOUNT": str(count)} for count in spins}
    return {"as chosen": {}, **counts, "sleep": {"OMP_WAIT_POLICY": "passive"}}


def measure(threads: int, steps: int, repetitions: int, spins: Sequence[int] = SPINS) -> dict[str, Any]:
    """Tokens per second of the default LSTMP on Reuters R8, as `train.py` reports them, for every way of waiting.

    Each is trained alone on the machine and beside a process that keeps one core busy, in turn, ``repetitions`` times,
    for ``steps`` optimizer steps. `share` of the idle machine: of the fastest way of waiting there; of the busy one: of
    what all cores but one can do, (threads - 1) times the speed of one thread on the idle machine.
    """
    waiting = ways_of_waiting(spins)
    rates: dict[str, dict[str, list[float]]] = {name: {"idle": [], "busy": []} for name in ("one thread", *waiting)}
    with tempfile.TemporaryDirectory() as directory:
        for repetition in range(repetitions):
            for name, found in rates.items():
                for load, each in found.items():
                    with _one_core_taken(load == "busy"):
                        count = 1 if name == "one thread" else threads
                        place = Path(directory, f"{name}_{load}_{repetition}".replace(" ", "_"))
                        each.append(_tokens_per_second(count, steps, place, waiting.get(name, {})))
    medians = {name: {load: statistics.median(each) for load, each in found.items()} for name, found in rates.items()}
    whole = {
        "idle": max(medians[name]["idle"] for name in waiting),
        "busy": (threads - 1) * medians["one thread"]["idle"],
    }
    shares = {name: {load: found[load] / whole[load] for load in whole} for name, found in medians.items()}
    return {"threads": threads, "steps": steps, "medians": medians, "share": shares, "tokens_per_second": rates}


def _tokens_per_second(threads: int, steps: int, place: Path, waiting: Mapping[str, str]) -> float:
    options = [f"threads={threads}", f"trainer.max_steps={steps}", "trainer.limit_val_batches=0"]
    command = [sys.executable, *TRAIN, *options, "trainer.limit_test_batches=1", f"output_dir={place}"]
    others = {name: value for name, value in os.environ.items() if name not in (*VARIABLES, "OMP_NUM_THREADS")}
    subprocess.run(command, cwd=PROJECT, env={**others, **waiting}, check=True, capture_output=True)
    speed = load_result(place / "latest").speed["tokens_per_second"]
    assert speed is not None  # steps enough have been taken
    return float(speed)


@contextmanager
def _one_core_taken(taken: bool) -> Iterator[None]:
    """While another process computes, if it is ``taken``."""
    if not taken:
        yield
        return
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()
