"""Results of a run: ``results.json`` and the predictions on the test set."""

import csv
import hashlib
import json
import math
import os
import shutil
import tempfile
import time
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

import numpy as np

from unrolled.errors import RefusedDataError, UserError
from unrolled.train.signals import interrupt_on_sigterm, interrupting_signal

if TYPE_CHECKING:
    import pandas as pd

Status = Literal["running", "ok", "failed", "interrupted", "unreadable"]

RESULTS_FILE = "results.json"
PREDICTIONS_FILE = "predictions.csv"
TOKENIZER_FILE = "tokenizer.json"
VOCABULARY_FILE = "vocabulary.txt"
LINEAR_FILE = "linear.npz"
LATEST_FILE = "latest"
FORMAT = 1

# Settings that change where a run writes, not what it computes: they stay out of the hashes.
WITHOUT_EFFECT = ("name", "output_dir", "logger", "data.cache_dir", "callbacks.progress_bar", "checkpoint", "resume")


@dataclass
class RunResult:
    """One run, as ``results.json`` holds it. Fill it in as the run goes; ``recorded_run`` writes it."""

    name: str  # readable, as in TensorBoard
    model: str = ""
    implementation: str = ""
    data: str = ""
    status: Status = "running"  # a results.json that still says so belongs to a process that is at work, or was killed
    error: str | None = None  # one sentence, where status is failed or interrupted
    started: str = ""  # UTC, ISO 8601
    wall_time_s: float | None = None  # of all sessions, if the run was resumed
    resumed: list[str] = field(default_factory=list)  # UTC, ISO 8601: when it went on after a kill or an interrupt
    metrics: dict[str, float] = field(default_factory=dict)  # val/... of the best validation, test/...
    history: list[dict[str, float]] = field(default_factory=list)  # a row per validation
    parameters: dict[str, int] = field(default_factory=dict)  # total and per part
    directions: str = ""  # in which training reads documents, and how far a backward one sees
    baseline: dict[str, float] = field(default_factory=dict)  # the linear model's metrics, seconds, parameters, ...
    speed: dict[str, float | None] = field(default_factory=dict)  # medians over windows of training
    environment: dict[str, Any] = field(default_factory=dict)
    data_summary: dict[str, Any] = field(default_factory=dict)
    class_names: list[str] = field(default_factory=list)
    best_checkpoint: str | None = None  # relative to the run's directory
    last_checkpoint: str | None = None
    tested_weights: str | None = None
    predictions: str | None = None  # relative to the run's directory
    config: dict[str, Any] = field(default_factory=dict)  # resolved
    config_hash: str = ""
    config_hash_without_seed: str = ""
    asked_hash: str = ""  # of the config as composed, where keys that a recipe decides are `auto`
    format: int = FORMAT
    directory: Path = field(default_factory=Path)  # where it was read from; not in the file

    def write(self) -> Path:
        """Write ``results.json`` in one piece: a reader finds the old file or the new one, never half of one."""
        content = {f.name: _jsonable(getattr(self, f.name)) for f in fields(self) if f.name != "directory"}
        path = self.directory / RESULTS_FILE
        write_atomically(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
        return path

    def configure(self, config: Mapping[str, Any]) -> None:
        """Record the settings that the run goes by."""
        self.config = dict(config)
        self.config_hash = config_hash(config)
        self.config_hash_without_seed = config_hash(config, (*WITHOUT_EFFECT, "seed"))

    def relative(self, path: Path) -> str:
        """``path`` as seen from the run's directory, where it lies inside; a run can then be moved."""
        path, directory = path.resolve(), self.directory.resolve()
        return str(path.relative_to(directory) if path.is_relative_to(directory) else path)


def config_hash(config: Mapping[str, Any], without: Iterable[str] = WITHOUT_EFFECT) -> str:
    """16 hexadecimal digits of SHA-256 over what ``config`` says, whatever the order of its keys.

    without: keys that do not count, a dot before each level below the first.
    """
    left = _jsonable(config)
    for key in without:
        *path, last = key.split(".")
        inner = left
        for part in path:
            inner = inner.get(part) if isinstance(inner, dict) else None
        if isinstance(inner, dict):
            inner.pop(last, None)
    text = json.dumps(left, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


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

    Written at once with status ``running``, and at the end with ``ok``, ``failed`` (any exception) or ``interrupted``
    (Ctrl-C, SIGTERM, Lightning's exit after either). Exceptions go on; the exit status after an interrupt is
    128 + the signal's number, as shells have it.

    config: resolved, plain containers; root: the directory of all runs, where the file ``latest`` is kept (two levels
    up if not given); before: the same run as it was left, with the wall time it had taken, where it goes on now;
    keep_refused: data that are refused (RefusedDataError) are a failed run, too; otherwise only the log is left of it;
    known: further fields of RunResult (model, implementation, data).
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
    point_latest(directory, latest.parent)
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


def point_latest(directory: Path, root: Path) -> None:
    """Let the file ``latest`` in ``root`` (``runs/latest``) name this run.

    A text file, not a link: TensorBoard follows links and would show the run twice.
    """
    if root.is_dir() and directory.is_relative_to(root):
        write_atomically(root / LATEST_FILE, f"{directory.relative_to(root)}\n")


def resolve_run(path: str | Path) -> Path:
    """The directory that ``path`` names: a run's directory, its ``results.json``, or the file ``latest``.

    ``latest`` alone is runs/latest.
    """
    path = Path(path)
    if path == Path(LATEST_FILE) and not path.exists():
        path = Path("runs") / LATEST_FILE
    if path.name == LATEST_FILE and path.is_file():
        return path.parent / path.read_text().strip()
    return path.parent if path.name == RESULTS_FILE else path


def load_result(path: str | Path) -> RunResult:
    """Read the run in directory ``path`` (or the one that ``runs/latest`` names).

    Raises UserError where that is no run, is damaged, or was written by another version.
    """
    directory = resolve_run(path)
    file = directory / RESULTS_FILE
    try:
        content = json.loads(file.read_text())
    except FileNotFoundError:
        raise UserError(
            f"{directory} is not a run: it has no {RESULTS_FILE}; name the directory of one run, such as "
            "runs/<name>/<time>, or runs/latest"
        ) from None
    except (OSError, ValueError) as error:
        raise UserError(f"{file} cannot be read ({error}); the run has to be repeated") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        found = content.get("format") if isinstance(content, dict) else None
        raise UserError(f"{file} has format {found}, this version reads format {FORMAT}; repeat the run")
    known = {f.name for f in fields(RunResult)}
    return RunResult(**{key: value for key, value in content.items() if key in known}, directory=directory)


def find_runs(paths: Sequence[str | Path]) -> list[RunResult]:
    """All runs in and under ``paths``, the oldest first, each once.

    One that is damaged or was written by another version comes with status ``unreadable`` and the reason. Raises
    UserError where there is no run at all.
    """
    found: dict[Path, RunResult] = {}
    for path in paths:
        root = resolve_run(path)
        if not root.is_dir():
            raise UserError(f"{path} is not a directory; name the directory that holds the runs, such as runs/")
        for file in sorted(root.rglob(RESULTS_FILE)):
            if file.resolve() not in found:
                try:
                    run = load_result(file)
                except UserError as error:
                    run = RunResult(file.parent.name, directory=file.parent, status="unreadable", error=str(error))
                found[file.resolve()] = run
    if not found:
        raise UserError(f"no run found under {', '.join(map(str, paths))}: no {RESULTS_FILE}; train something first")
    return sorted(found.values(), key=lambda run: run.started)


def save_predictions(
    directory: Path, predictions: Mapping[str, Any], class_names: Sequence[str], file: str = PREDICTIONS_FILE
) -> Path:
    """Write one row per document: its id, true class, predicted class and the probability of that class.

    The id is the number of the document's record in its file, from 1.

    predictions: ``ids``, ``labels``, ``predicted``, ``probability``, each (N,).
    """
    path = directory / file
    columns = [np.asarray(predictions[key]).tolist() for key in ("ids", "labels", "predicted", "probability")]
    with _replacing(path) as out:
        rows = csv.writer(out)
        rows.writerow(["id", "label", "predicted", "probability"])
        for identity, label, predicted, probability in zip(*columns, strict=True):
            rows.writerow([identity, class_names[label], class_names[predicted], f"{probability:.6f}"])
    return path


def load_predictions(run: RunResult) -> "pd.DataFrame | None":
    """Columns ``ids``, ``labels``, ``predicted`` (names) and ``probability``, sorted by id; None where not saved."""
    import pandas as pd  # slow to import, and training does not need it

    path = run.directory / (run.predictions or PREDICTIONS_FILE)
    if not path.is_file():
        return None
    columns, texts = ["ids", "labels", "predicted", "probability"], {"labels": str, "predicted": str}
    table = pd.read_csv(path, names=columns, header=0, dtype=texts, keep_default_na=False)
    return table.sort_values("ids", ignore_index=True)


def write_atomically(path: Path, text: str) -> None:
    """Write a file beside ``path`` and move it there."""
    with _replacing(path) as out:
        out.write(text)


@contextmanager
def _replacing(path: Path) -> Iterator[IO[str]]:
    """A file that takes the place of ``path`` once it is complete; nothing is left of one that could not be written."""
    with tempfile.NamedTemporaryFile(
        "w", dir=path.parent, prefix=f".{path.name}.", delete=False, newline="", encoding="utf-8"
    ) as out:
        new = Path(out.name)
        try:
            yield out
            out.close()
        except BaseException:
            new.unlink()
            raise
    umask = os.umask(0)
    os.umask(umask)
    new.chmod(0o666 & ~umask)  # temporary files are private, results are not
    new.replace(path)


def _jsonable(value: Any) -> Any:
    """Plain containers that JSON can hold: NaN and infinities become None, unknown objects their text."""
    if isinstance(value, Mapping):
        return {str(key): _jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
