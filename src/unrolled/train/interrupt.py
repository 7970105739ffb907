"""Being told to stop: Ctrl-C, SIGTERM and SIGUSR1 end a run the same way."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from unrolled.train.signals import STOP_SIGNALS, Terminated, stop_for


@contextmanager
def sigterm_interrupts() -> Iterator[None]:
    """Inside, SIGTERM and SIGUSR1 raise ``Terminated`` instead of ending the process on the spot.

    Only where nobody else handles the signal (a cluster's launcher may) and in the main thread, the only one that
    Python gives signals to.
    """
    main = threading.current_thread() is threading.main_thread()
    ours = [number for number in STOP_SIGNALS if main and signal.getsignal(number) is signal.SIG_DFL]
    for number in ours:
        signal.signal(number, stop_for)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


def interrupted_by(error: BaseException) -> signal.Signals | None:
    """The signal behind ``error``, or None. An interrupt that is not Ctrl-C's has it as its attribute ``signal``.

    Lightning answers a KeyboardInterrupt with ``sys.exit``: the interrupt is then the exit's context.
    """
    seen: BaseException | None = error
    while seen is not None and isinstance(seen, KeyboardInterrupt | SystemExit):
        if isinstance(seen, KeyboardInterrupt):
            return seen.signal if isinstance(seen, Terminated) else signal.SIGINT
        seen = seen.__cause__ or seen.__context__
    return None
