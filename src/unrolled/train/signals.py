"""Signals that say stop: which they are, what they raise, and how they wait for what must not be cut in two."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR1)  # a cluster sends one of them before it takes the machine away
SIGNALS = (signal.SIGINT, *STOP_SIGNALS)


class Terminated(KeyboardInterrupt):
    """Another signal than Ctrl-C says stop; a KeyboardInterrupt, so whoever shuts down on Ctrl-C does here, too."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.signal = signal.Signals(number)


def stop_for(number: int, frame: FrameType | None = None) -> None:
    """Raise what signal ``number`` stands for: KeyboardInterrupt or Terminated."""
    raise KeyboardInterrupt if number == signal.SIGINT else Terminated(number)


@contextmanager
def signals_wait() -> Iterator[None]:
    """Signals that say stop and come inside reach whoever handles them when the body has ended, in their order.

    For code that calls back into Python from C++, which an exception of a signal handler would leave in a state that
    it reports as an error of its own.
    """
    if threading.current_thread() is not threading.main_thread():  # Python takes signals nowhere else
        yield
        return
    came: list[int] = []
    handled = [number for number in SIGNALS if signal.getsignal(number) is not None]  # None: not by Python
    before = {number: signal.signal(number, lambda number, frame: came.append(number)) for number in handled}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for each in came:
            signal.raise_signal(each)
