"""How things are timed: in turn, several times, and by the median."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Times:
    """Seconds of each repetition."""

    seconds: list[float]

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.seconds)


def alternate(candidates: Mapping[str, Callable[[], None]], repetitions: int, warm_up: int = 2) -> dict[str, Times]:
    """Run every candidate once, in turn, ``repetitions`` times after ``warm_up`` rounds that do not count.

    What slows a shared machine down for a while then slows all of them down. The device is synchronised before the
    clock is read.
    """
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for repetition in range(warm_up + repetitions):
        for name, run in candidates.items():
            _synchronise()
            began = time.perf_counter()
            run()
            _synchronise()
            if repetition >= warm_up:
                seconds[name].append(time.perf_counter() - began)
    return {name: Times(each) for name, each in seconds.items()}


def ratios(ours: Times, theirs: Times) -> tuple[float, float, float]:
    """Lowest, median and highest of the ratios theirs / ours, repetition by repetition: above 1, ours is faster."""
    pairs = sorted(b / a for a, b in zip(ours.seconds, theirs.seconds, strict=True))
    return pairs[0], statistics.median(pairs), pairs[-1]


def _synchronise() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
