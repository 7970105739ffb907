"""The record that a run keeps of itself: its ``results.json``, whatever happens to it, and ``latest``."""

import shlex
import shutil
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from unrolled.errors import RefusedDataError, UserError
from unrolled.files import disk_full_error, write_atomically
from unrolled.train.devices import global_rank
from unrolled.train.results import LATEST_FILE, RESULTS_FILE, RunResult, config_hash
from unrolled.train.resume import exclusive_access
from unrolled.train.resume_files import elapsed_seconds, resume_points
from unrolled.train.signals import interrupt_on_sigterm, interrupting_signal


@contextmanager
def recorded(
    directory: Path, settings: dict[str, Any], name: str, root: Path, before: RunResult | None, **known: Any
) -> Iterator[RunResult]:
    """The record that a run's first process keeps; the other processes have one that is not written.

    A run that is interrupted, or finds the disk full, says how it can be resumed.
    """
    if global_rank():
        with interrupt_on_sigterm():
            yield RunResult(name=name, directory=directory)
        return
    with exclusive_access(directory):
        if before is not None:
            before.wall_time_s = elapsed_seconds(before)
        try:
            with recorded_run(directory, settings, name, root=root, before=before, **known) as result:
                yield result
        except BaseException as error:
            if interrupting_signal(error) is not None:
                sys.stderr.write(f"interrupted: {shown(directory)}\nresume with {_resume_command(directory)}\n")
            if (full := disk_full_error(error, directory)) is not None:
                raise UserError(f"{full}; make room, then resume with {_resume_command(directory)}") from error
            raise


@contextmanager
def recorded_run(
    directory: Path,
    config: Mapping[str, Any],
    name: str,
    root: Path | None = None,
    before: RunResult | None = None,
    keep_refused: bool = True,
    **known: Any,
) -> Iterator[RunResult]:
    """Run the body and leave a ``results.json`` in ``directory`` whatever happens to the run.

    Its status is ``running``, and at the end ``ok``, ``failed`` (any exception) or ``interrupted`` (Ctrl-C, SIGTERM,
    Lightning's exit after either). Exceptions go on; the exit status after an interrupt is 128 + the signal's number.

    config: resolved, plain containers; root: the directory of all runs, where the file ``latest`` is kept (two levels
    up if not given); before: the same run as it was left, where it goes on now; keep_refused: data that are refused
    (RefusedDataError) are a failed run, too; otherwise only the log is left of it; known: further fields of RunResult.
    """
    directory.mkdir(parents=True, exist_ok=True)
    result = RunResult(
        name=name,
        directory=directory,
        started=datetime.now(UTC).isoformat(timespec="microseconds"),
        asked_hash=config_hash(config),
        **known,
    )
    result.configure(config)
    began, earlier, refused = time.perf_counter(), 0.0, False
    if before is not None:
        result.resumed = [*before.resumed, result.started]
        result.asked_hash = before.asked_hash
        result.started = before.started
        result.wall_time_s = earlier = before.wall_time_s or 0.0
    result.write()
    latest = (root or directory.parent.parent) / LATEST_FILE
    pointed = latest.read_text() if latest.is_file() else None
    if directory.is_relative_to(latest.parent):  # a text file: TensorBoard would follow a link and show the run twice
        write_atomically(latest, f"{directory.relative_to(latest.parent)}\n")
    try:
        with interrupt_on_sigterm():
            yield result
        result.status = "ok"
    except BaseException as error:
        signal_number = interrupting_signal(error)
        if signal_number is not None:
            result.status, result.error = "interrupted", f"stopped by {signal_number.name}"
            raise SystemExit(128 + signal_number) from error
        result.status, result.error = "failed", describe_error(error)
        refused = isinstance(error, RefusedDataError) and not keep_refused
        if pointed is not None and not (directory / "checkpoints").is_dir():  # nothing to go on with or to use
            write_atomically(latest, pointed)
        elif refused:
            latest.unlink(missing_ok=True)
        if not isinstance(error, UserError):
            write_atomically(directory / "traceback.txt", "".join(traceback.format_exception(error)))
        raise
    finally:
        result.wall_time_s = earlier + time.perf_counter() - began
        if refused:
            (directory / RESULTS_FILE).unlink(missing_ok=True)
            shutil.rmtree(directory / ".hydra", ignore_errors=True)
        else:
            with nullcontext() if result.status == "ok" else suppress(OSError):  # a full disk is the error to be told
                result.write()


def describe_error(error: BaseException) -> str:
    """What happened, cause first where a library wrapped it (Hydra's instantiation errors hide it)."""
    cause = error
    while type(cause).__module__.startswith("hydra") and cause.__cause__ is not None:
        cause = cause.__cause__
    text = " ".join(str(cause).split())
    return text if isinstance(cause, UserError) else f"{type(cause).__name__}: {text}".rstrip(": ")


def _resume_command(directory: Path) -> str:
    point = next(iter(resume_points(directory / "checkpoints")), None)
    begin = "the beginning" if point is None else point.name
    return f"python train.py {shlex.quote(f'resume={shown(directory)}')} (continues from {begin})"


def shown(path: Path) -> Path:
    """The path as one would type it in the present directory."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
