"""Results of runs: ``results.json``, and finding those of earlier runs."""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np

from unrolled.errors import UserError
from unrolled.files import write_atomically
from unrolled.places import PROJECT

Status = Literal["running", "ok", "failed", "interrupted", "unreadable"]

RESULTS_FILE = "results.json"
TOKENIZER_FILE = "tokenizer.json"
VOCABULARY_FILE = "vocabulary.txt"
LINEAR_FILE = "linear.npz"
LATEST_FILE = "latest"
FORMAT = 1
NETWORK_ALONE = "test/network_accuracy"  # of a network without the linear model that it is mixed with

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


def resolve_run(path: str | Path) -> Path:
    """The directory that ``path`` names: a run's directory, its ``results.json``, or the file ``latest``.

    ``latest`` alone is runs/latest. Relative paths may also start from the project, as its messages show them.
    """
    path = Path(path)
    with suppress(RuntimeError):  # ~name, and no user has that name
        path = path.expanduser()
    if path == Path(LATEST_FILE) and not path.exists():
        path = Path("runs") / LATEST_FILE
    if not path.exists() and (PROJECT / path).exists():
        path = PROJECT / path
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
        wrong = f"is not a run: it has no {RESULTS_FILE}" if directory.is_dir() else "does not exist"
        raise UserError(
            f"{directory} {wrong}; name the directory of one run, such as runs/<name>/<time>, or runs/latest"
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
