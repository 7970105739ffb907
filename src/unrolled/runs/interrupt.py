"""Being told to stop: Ctrl-C and SIGTERM end a run the same way."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Terminated(KeyboardInterrupt):
    """SIGTERM arrived. A KeyboardInterrupt, so that whoever shuts down on Ctrl-C (Lightning) does here, too."""


@contextmanager
def sigterm_interrupts() -> Iterator[None]:
    """Inside, SIGTERM raises ``Terminated`` instead of ending the process on the spot.

    Only where nobody else handles the signal (a cluster's launcher may) and in the main thread, the only one that
    Python gives signals to.
    """
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def interrupted_by(error: BaseException) -> signal.Signals | None:
    """The signal behind ``error``, or None.

    Lightning answers a KeyboardInterrupt with ``sys.exit``: the interrupt is then the exit's context.
    """
    seen: BaseException | None = error
    while seen is not None and isinstance(seen, KeyboardInterrupt | SystemExit):
        if isinstance(seen, KeyboardInterrupt):
            return signal.SIGTERM if isinstance(seen, Terminated) else signal.SIGINT
        seen = seen.__cause__ or seen.__context__
    return None


def _terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated
