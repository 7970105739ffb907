"""Timing of several candidates: in turn, repeatedly, and by the median."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

Clock = Callable[[], float]


@dataclass(frozen=True)
class Times:
    """Seconds of each repetition."""

    seconds: list[float]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


def alternate(
    candidates: Mapping[str, Callable[[], Any]],
    rounds: int,
    warm_up: int = 2,
    clock: Clock = time.perf_counter,
    least: float = 0.0,
) -> dict[str, Times]:
    """Seconds that a call of each candidate takes, ``rounds`` times after ``warm_up`` rounds that do not count.

    All run in turn, so that what slows a shared machine down for a while slows all of them down. In each round a
    candidate is called again until ``least`` seconds have passed. The device is synchronised before the clock is read.
    """
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for number in range(warm_up + rounds):
        for name, run in candidates.items():
            _synchronise()
            began, calls, took = clock(), 0, 0.0
            while not calls or (took < least and number >= warm_up):
                run()
                _synchronise()
                calls, took = calls + 1, clock() - began
            if number >= warm_up:
                seconds[name].append(took / calls)
    return {name: Times(each) for name, each in seconds.items()}


def processor_clock(threads: int) -> Clock:
    """Processor time of a thread, which other programs on the machine disturb least.

    On several threads it wants OMP_WAIT_POLICY=passive, so that waiting is not counted, and does not show what waiting
    costs.
    """
    return lambda: time.process_time() / threads


def ratios(ours: Times, theirs: Times) -> tuple[float, float, float]:
    """Lowest, median and highest of the ratios theirs / ours, repetition by repetition: above 1, ours is faster."""
    pairs = sorted(b / a for a, b in zip(ours.seconds, theirs.seconds, strict=True))
    return pairs[0], statistics.median(pairs), pairs[-1]


def _synchronise() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
