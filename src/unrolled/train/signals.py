"""Handling of stop signals: Ctrl-C, SIGTERM and SIGUSR1."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR1)  # a cluster sends one of them before it takes the machine away
SIGNALS = (signal.SIGINT, *STOP_SIGNALS)


class Terminated(KeyboardInterrupt):
    """A stop signal other than Ctrl-C; whatever shuts down on a KeyboardInterrupt shuts down on this one, too."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.signal = signal.Signals(number)


def raise_interrupt(number: int, frame: FrameType | None = None) -> None:
    """Signal handler: raise KeyboardInterrupt for Ctrl-C and Terminated for the others."""
    raise KeyboardInterrupt if number == signal.SIGINT else Terminated(number)


@contextmanager
def interrupt_on_sigterm() -> Iterator[None]:
    """Inside, SIGTERM and SIGUSR1 raise `Terminated` instead of ending the process on the spot.

    Only in the main thread (Python delivers signals nowhere else) and only where no one else handles the signal, as the
    launcher of a cluster may.
    """
    main = threading.current_thread() is threading.main_thread()
    ours = [number for number in STOP_SIGNALS if main and signal.getsignal(number) is signal.SIG_DFL]
    for number in ours:
        signal.signal(number, raise_interrupt)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


def interrupting_signal(error: BaseException) -> signal.Signals | None:
    """The stop signal that led to ``error``, or None if none did.

    Lightning answers a KeyboardInterrupt with ``sys.exit``: the interrupt is then the context of the SystemExit.
    """
    seen: BaseException | None = error
    while seen is not None and isinstance(seen, KeyboardInterrupt | SystemExit):
        if isinstance(seen, KeyboardInterrupt):
            return seen.signal if isinstance(seen, Terminated) else signal.SIGINT
        seen = seen.__cause__ or seen.__context__
    return None


@contextmanager
def defer_signals() -> Iterator[None]:
    """Inside, stop signals are held back; they are delivered in their order when the body has ended.

    For code that calls back into Python from C++ (``torch.save``): an exception raised there by a signal handler would
    surface as an error of the C++ code.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received: list[int] = []
    handled = [number for number in SIGNALS if signal.getsignal(number) is not None]  # None: not set by Python
    before = {number: signal.signal(number, lambda number, frame: received.append(number)) for number in handled}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for each in received:
            signal.raise_signal(each)
