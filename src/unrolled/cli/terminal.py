"""Error messages, exit status and log lines of all commands."""

import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

from unrolled.errors import UserError
from unrolled.waiting import watch_processors


@contextmanager
def interruptible(said: str = "interrupted") -> Iterator[None]:
    """Inside, Ctrl-C ends the process with one line and status 130."""
    watch_processors()
    try:
        yield
    except KeyboardInterrupt:
        sys.stderr.write(f"{said}\n")
        raise SystemExit(130) from None


def run_script(main: Callable[[Sequence[str]], None]) -> None:
    """Call ``main`` with the command line; a UserError becomes one message and exit status 2, Ctrl-C status 130."""
    try:
        with interruptible():
            main(sys.argv[1:])
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        raise SystemExit(2) from None
    except BrokenPipeError:  # the reader, such as `head`, has gone
        sys.stderr.close()  # or Python complains about standard output at exit
        raise SystemExit(0) from None


def stop(error: UserError) -> NoReturn:
    """End the process with the message and status 2; of several processes on a machine one speaks."""
    if int(os.environ.get("LOCAL_RANK", os.environ.get("SLURM_LOCALID", "0"))) == 0:
        sys.stderr.write(f"error: {error}\n")
    sys.exit(2)


class TerminalLines(logging.Formatter):
    """Formats a log record for the terminal: its sentence alone, with ``warning:`` before it where it is one."""

    def format(self, record: logging.LogRecord) -> str:
        said = super().format(record)
        return said if record.levelno < logging.WARNING else f"{record.levelname.lower()}: {said}"
