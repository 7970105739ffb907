"""Resume points on disk: checkpoints from which an interrupted run continues bit for bit."""

from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from unrolled.console import say
from unrolled.train.checkpoint_io import UNFINISHED, AtomicCheckpointIO, load_intact
from unrolled.train.results import RESULTS_FILE, RunResult

PATTERN = "step-*.ckpt"
LASTING = ("state_dict", "hyper_parameters", "epoch", "global_step", "pytorch-lightning_version")
KEY = "resume"  # of a resume point's further content, which Lightning's own checkpoints lack


def resume_points(directory: Path) -> list[Path]:
    """The resume points in ``directory``, the newest first."""
    return sorted(directory.glob(PATTERN), reverse=True)


def keep_weights(directory: Path) -> None:
    """Of the checkpoints in ``directory``, of a finished run, keep the best and the last weights alone.

    What only resuming needs, as the optimizer's moments, takes several times the room of the weights.
    """
    for point in resume_points(directory):
        point.unlink()
    for path in directory.glob("*.ckpt"):
        content = load_intact(path)
        AtomicCheckpointIO().save_checkpoint({key: content[key] for key in LASTING if key in content}, path)


def newest_intact_point(directory: Path) -> tuple[Path | None, list[tuple[Path, str]]]:
    """The newest undamaged point, or None, and the damaged ones that are newer, each with what is wrong with it."""
    damaged = []
    for path in resume_points(directory):
        try:
            if KEY not in load_intact(path):
                raise ValueError("it is not a resume point")
        except ValueError as error:
            damaged.append((path, str(error)))
        else:
            return path, damaged
    return None, damaged


def truncate_event_files(directory: Path, sizes: dict[str, int]) -> None:
    """Take from the TensorBoard files in ``directory`` what was written after the point that noted ``sizes`` (bytes).

    A run that goes on from there writes it again; with a step that TensorBoard should purge (`purge_step`) curves over
    tokens would lose everything.
    """
    for path in directory.glob("events.out.tfevents.*"):
        if path.name not in sizes:
            path.unlink()
        elif path.stat().st_size > sizes[path.name]:
            with path.open("r+b") as file:
                file.truncate(sizes[path.name])


def checkpoint_to_resume(directory: Path, console: Console, repair: bool) -> Path | None:
    """The newest undamaged checkpoint to go on from, None for the beginning.

    repair: take away damaged and half-written files and what the event files hold beyond the point; for one process
    of a run only.
    """
    path, damaged = newest_intact_point(directory / "checkpoints")
    for file, why in damaged:
        instead = "the beginning" if path is None else path.name
        say(console, f"{file.name} is damaged ({why}): continuing from {instead}")
    if repair:
        half_written = [*directory.glob(f"checkpoints/.*{UNFINISHED}"), *directory.glob(f".{RESULTS_FILE}.*")]
        for file in [*half_written, *(file for file, _ in damaged)]:
            file.unlink()
        truncate_event_files(directory, {} if path is None else dict(load_intact(path)["resume"]["event_files"]))
    if path is None:
        say(console, "no checkpoint to continue from: starting again in the same directory")
    else:
        say(console, f"continuing from {path.name}")
    return path


def elapsed_seconds(run: RunResult) -> float:
    """Wall time that ``run`` has taken; of a killed session what went by until its last checkpoint."""
    seconds = run.wall_time_s or 0.0
    newest = next(iter(resume_points(run.directory / "checkpoints")), None)
    if run.status == "running" and newest is not None:
        began = datetime.fromisoformat(run.resumed[-1] if run.resumed else run.started)
        sign_of_life = datetime.fromtimestamp(newest.stat().st_mtime, UTC)
        seconds += max((sign_of_life - began).total_seconds(), 0.0)
    return seconds
