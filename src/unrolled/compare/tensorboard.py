"""TensorBoard on a free port: `python -m unrolled.compare.tensorboard runs`."""

import argparse
import logging
import threading
from collections.abc import Sequence
from pathlib import Path

from unrolled.errors import UserError


def main(arguments: Sequence[str]) -> None:
    """Serve until Ctrl-C. Raises UserError where there is nothing to show."""
    parser = argparse.ArgumentParser(
        "python -m unrolled.compare.tensorboard", description="Show runs in TensorBoard, on a port that is free."
    )
    parser.add_argument("logdir", nargs="?", type=Path, default=Path("runs"), help="directory of the runs (runs)")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one (%(default)s)")
    options = parser.parse_args(arguments)
    if not any(options.logdir.rglob("events.out.tfevents.*")):
        raise UserError(f"{options.logdir} holds no event files; train something first, or name another directory")
    print(f"TensorBoard at {launch(options.logdir, options.port)} (Ctrl-C ends it)", flush=True)
    threading.Event().wait()


def launch(logdir: Path, port: int = 0) -> str:
    """Start TensorBoard in a thread of this process; its address. Raises UserError where the port is taken."""
    from tensorboard import program  # slow to import

    logging.getLogger("tensorboard").setLevel(logging.ERROR)
    board = program.TensorBoard()
    board.configure(logdir=str(logdir), port=port, host="localhost", load_fast="false")
    try:
        return str(board.launch())
    except program.TensorBoardServerException as error:
        raise UserError(f"--port {port}: {error}") from error


if __name__ == "__main__":
    from unrolled.cli.terminal import run_script

    run_script(main)
