"""Runs side by side: one row per configuration, seeds taken together."""

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property
from typing import Any

from unrolled.compare.significance import compare_configurations
from unrolled.errors import UserError
from unrolled.train.results import WITHOUT_EFFECT, RunResult

LABELS = ("data", "model", "implementation")  # columns that stand for whole config groups
TIMED_BY = ("device", "device_name", "precision", "threads", "timed_in_parallel")  # what a timing depends on


@dataclass(frozen=True)
class Column:
    """A measured column: where the number is, which is better, and how it is written."""

    name: str  # for --sort, in CSV and JSON
    title: str
    source: str  # field of RunResult
    key: str  # in that field; empty: the field itself
    higher_is_better: bool
    is_timing: bool = False
    scale: float = 1.0
    digits: int = 0

    def of(self, run: RunResult) -> float | None:
        value = getattr(run, self.source)
        return value.get(self.key) if self.key else value

    def text(self, number: float | None) -> str:
        return "" if number is None else f"{number * self.scale:,.{self.digits}f}"


COLUMNS = (
    Column("test_accuracy", "test acc %", "metrics", "test/accuracy", True, scale=100, digits=2),
    Column("test_macro_f1", "macro F1 %", "metrics", "test/macro_f1", True, scale=100, digits=2),
    Column("val_accuracy", "best val %", "metrics", "val/accuracy", True, scale=100, digits=2),
    Column("parameters", "parameters", "parameters", "total", False),
    Column("encoder_parameters", "encoder", "parameters", "encoder", False),
    Column("tokens_per_second", "tokens/s", "speed", "tokens_per_second", True, is_timing=True),
    Column("ms_per_step", "ms/step", "speed", "ms_per_step", False, is_timing=True, digits=1),
    Column("peak_memory_mb", "MiB", "speed", "peak_memory_mb", False, is_timing=True),
    Column("wall_time_s", "time s", "wall_time_s", "", False, is_timing=True, digits=1),
)
BY_NAME = {column.name: column for column in COLUMNS}


@dataclass
class Configuration:
    """All runs that differ in nothing but the seed."""

    runs: list[RunResult]  # newest per seed
    settings: dict[str, str] = field(default_factory=dict)  # only those in which the compared configurations differ
    p_value: float | None = None  # against the best of its section; None for the best itself, or not known
    is_best: bool = False

    @cached_property
    def finished(self) -> list[RunResult]:
        """The runs with status ok: the numbers are theirs."""
        return [run for run in self.runs if run.status == "ok"]

    @cached_property
    def flat(self) -> dict[str, str]:
        """The configuration as dotted keys and texts, without seed and without what has no effect."""
        return flatten(self.runs[0])

    @property
    def seeds(self) -> list[Any]:
        return [run.config.get("seed") for run in self.finished]

    @property
    def status(self) -> str:
        counts: dict[str, int] = {}
        for run in self.runs:
            counts[run.status] = counts.get(run.status, 0) + 1
        return ", ".join(f"{count} {status}" if len(self.runs) > 1 else status for status, count in counts.items())

    @property
    def timing(self) -> tuple[tuple[str, ...], ...]:
        """Where its timings were taken; several where its runs were timed in different places."""
        return tuple(sorted({tuple(str(run.environment.get(key)) for key in TIMED_BY) for run in self.finished}))

    @property
    def label(self) -> str:
        """A readable name: the settings that tell it from the others."""
        if self.settings:
            named = [f"{k.rsplit('.', 1)[-1]}={v}" if k not in LABELS else v for k, v in self.settings.items()]
            return " ".join(named)
        return self.runs[0].name

    def values(self, column: Column) -> list[float]:
        return [value for run in self.finished if (value := column.of(run)) is not None]

    def mean(self, column: Column) -> float | None:
        """The mean over seeds; None where nothing was measured, or timings come from different places."""
        values = self.values(column)
        if not values or (column.is_timing and len(self.timing) > 1):
            return None
        return statistics.fmean(values)

    def deviation(self, column: Column) -> float | None:
        """The standard deviation over seeds (n - 1); None for a single seed."""
        values = self.values(column)
        if len(values) < 2 or (column.is_timing and len(self.timing) > 1):
            return None
        return statistics.stdev(values)


@dataclass
class Section:
    """Configurations among which the best is marked."""

    title: str
    rows: list[Configuration]

    def __post_init__(self) -> None:
        self.best: dict[str, float] = {}
        for column in COLUMNS:
            if column.is_timing and not self.timings_comparable:
                continue
            values = [value for row in self.rows if (value := row.mean(column)) is not None]
            if len(values) > 1 and len(set(values)) > 1:
                self.best[column.name] = max(values) if column.higher_is_better else min(values)
        accuracy = BY_NAME["test_accuracy"]
        ranked = [row for row in self.rows if row.mean(accuracy) is not None]
        if len(ranked) > 1:
            best = max(ranked, key=lambda row: row.mean(accuracy) or 0.0)
            best.is_best = True
            for row in ranked:
                if row is not best:
                    row.p_value = compare_configurations(best.finished, row.finished)

    @property
    def timings_comparable(self) -> bool:
        """All timings were taken on the same device, with the same threads and precision, and not in parallel."""
        places = {place for row in self.rows for place in row.timing}
        return len(places) <= 1 and not any(place[-1] == "True" for place in places)

    def is_best(self, row: Configuration, column: Column) -> bool:
        return column.name in self.best and row.mean(column) == self.best[column.name]


@dataclass
class Comparison:
    """What `compare.py` shows."""

    sections: list[Section]
    keys: list[str]  # the settings in which the configurations differ
    troubled: list[RunResult]  # failed, interrupted or unfinished runs
    notes: list[str]

    @property
    def rows(self) -> list[Configuration]:
        return [row for section in self.sections for row in section.rows]


def compare(
    runs: Sequence[RunResult],
    filters: Sequence[str] = (),
    sort: str = "test_accuracy",
    group: str | None = None,
) -> Comparison:
    """Gather ``runs`` into configurations and compare these.

    filters: ``key=value`` or ``key=one,other``: only such runs, the key being a setting, ``seed``, ``status``, ``name``
    or what a timing depends on; sort: a column of ``COLUMNS`` (best first) or a setting; group: a setting whose values
    get a section each.

    Raises UserError for an unknown key, where no run is left, and where incomparable timings were to be ranked.
    """
    readable = [run for run in runs if run.status != "unreadable"]
    kept = [run for run in readable if all(_matches(run, text, readable) for text in filters)]
    if not kept:
        raise UserError(
            f"no run is left by --filter {' '.join(filters)}; {len(readable)} were found before filtering"
            if filters
            else f"none of the {len(runs)} runs can be read; the first: {runs[0].error}"
        )
    configurations = _configurations(kept)
    keys = differing_keys(configurations)
    if group is None and len({row.runs[0].data for row in configurations}) > 1:
        group = "data"  # accuracies on different documents cannot be ranked
    for row in configurations:
        row.settings = {key: row.flat.get(key, "-") for key in keys}
    sections = [Section(title, rows) for title, rows in _sections(configurations, group)]
    for section in sections:
        _sort(section, sort, readable)
    troubled = [run for run in kept if run.status != "ok"]
    troubled += [run for run in runs if run.status == "unreadable"]
    shown = [key for key in keys if key != group and any(_varies(key, section.rows) for section in sections)]
    return Comparison(sections, shown, troubled, _notes(sections))


def flatten(run: RunResult) -> dict[str, str]:
    """A run's settings as dotted keys and texts; ``data``, ``model`` and ``implementation`` stand for their targets."""
    flat: dict[str, str] = {name: str(getattr(run, name)) for name in LABELS if getattr(run, name)}
    for key, value in _leaves(run.config):
        if key == "seed" or any(key == out or key.startswith(f"{out}.") for out in WITHOUT_EFFECT):
            continue
        if (
            key == "model.implementation"
            or key.startswith("choices.")
            or (key.endswith("._target_") and key.split(".")[0] in flat)
        ):
            continue
        if key.endswith("._target_"):
            key, value = key.removesuffix("._target_"), str(value).rsplit(".", 1)[-1]
        flat[key] = _text(value)
    return flat


def differing_keys(configurations: Sequence[Configuration]) -> list[str]:
    """Keys whose values differ, in the order of the configs.

    A key that only some configurations have, and that is the same in all of these, is left out: it belongs to the
    choice that brought it (a recurrence's own option) and tells nothing more.
    """
    order: dict[str, None] = {}
    for row in configurations:
        order |= dict.fromkeys(row.flat)
    keys = []
    for key in order:
        values = {row.flat[key] for row in configurations if key in row.flat}
        if len(values) > 1:
            keys.append(key)
    return keys


def difference(first: RunResult, second: RunResult) -> list[tuple[str, str, str]]:
    """(key, value in first, value in second) for each setting, seed included, and each measured column that differs."""
    one, two = ({"seed": str(run.config.get("seed"))} | flatten(run) for run in (first, second))
    rows = [(key, one.get(key, "-"), two.get(key, "-")) for key in dict.fromkeys([*one, *two])]
    rows += [(column.title, column.text(column.of(first)), column.text(column.of(second))) for column in COLUMNS]
    return [row for row in rows if row[1] != row[2]]


def _varies(key: str, rows: Sequence[Configuration]) -> bool:
    return len({row.flat.get(key) for row in rows}) > 1


def _configurations(runs: Iterable[RunResult]) -> list[Configuration]:
    newest: dict[str, RunResult] = {}
    for run in runs:  # oldest first: a later one replaces an earlier one, unless only the earlier one was finished
        earlier = newest.get(run.config_hash)
        if earlier is None or run.status == "ok" or earlier.status != "ok":
            newest[run.config_hash] = run
    groups: dict[str, list[RunResult]] = {}
    for run in newest.values():
        groups.setdefault(run.config_hash_without_seed, []).append(run)
    return [Configuration(sorted(group, key=lambda run: str(run.config.get("seed")))) for group in groups.values()]


def _sections(rows: list[Configuration], group: str | None) -> list[tuple[str, list[Configuration]]]:
    if group is None:
        return [("", rows)]
    if not any(group in row.flat for row in rows):
        raise _unknown(group, {key for row in rows for key in row.flat}, "--group")
    sections: dict[str, list[Configuration]] = {}
    for row in rows:
        sections.setdefault(f"{group}={row.flat.get(group, '-')}", []).append(row)
    return list(sections.items())


def _sort(section: Section, by: str, runs: Sequence[RunResult]) -> None:
    column = BY_NAME.get(by)
    if column is None:
        if not any(by in row.flat for row in section.rows):
            raise _unknown(by, {*BY_NAME, *(key for run in runs for key in flatten(run))}, "--sort")
        section.rows.sort(key=lambda row: _sortable(row.flat.get(by, "")))
        return
    if column.is_timing and not section.timings_comparable:
        raise UserError(
            f"--sort {by}: these timings were taken in different places ({'; '.join(_places(section.rows))}) and "
            "cannot be ranked; filter until one place is left, for example --filter threads=2, or repeat the runs"
        )
    sign = -1 if column.higher_is_better else 1
    rank = {id(row): row.mean(column) for row in section.rows}
    section.rows.sort(key=lambda row: (rank[id(row)] is None, sign * (rank[id(row)] or 0.0)))


def _matches(run: RunResult, text: str, runs: Sequence[RunResult]) -> bool:
    key, equals, wanted = text.partition("=")
    if not equals:
        raise UserError(f"--filter {text}: write key=value, for example --filter model=lstm")
    values = _filterable(run)
    if key not in values and not any(key in _filterable(other) for other in runs):
        raise _unknown(key, {name for other in runs for name in _filterable(other)}, "--filter")
    return values.get(key) in wanted.split(",")


def _filterable(run: RunResult) -> dict[str, str]:
    environment = {key: str(run.environment[key]) for key in TIMED_BY if key in run.environment}
    return flatten(run) | {"seed": str(run.config.get("seed")), "status": run.status, "name": run.name} | environment


def _unknown(key: str, known: Iterable[str], option: str) -> UserError:
    names = sorted(known)
    close = get_close_matches(key, names, n=3, cutoff=0.5)
    return UserError(
        f"{option} {key}: no run has this key; "
        + (f"did you mean {', '.join(close)}?" if close else f"there are {', '.join(names)}")
    )


def _notes(sections: Sequence[Section]) -> list[str]:
    notes = []
    rows = [row for section in sections for row in section.rows]
    if not all(section.timings_comparable for section in sections):
        notes.append(
            "Speed, memory and time are NOT comparable here and none is marked as best; timings were taken on "
            + "; ".join(_places(rows))
        )
    if any(len(row.timing) > 1 for row in rows):
        notes.append("Timings of one configuration that were taken in different places are not averaged but left out.")
    if any(row.p_value is not None for row in rows):
        notes.append(
            "p: McNemar's exact test against the best on the same test documents, the median over seeds, not corrected "
            "for several comparisons."
        )
    if any(len(row.finished) > 1 for row in rows):
        notes.append("Means over seeds, with the standard deviation (n - 1).")
    return notes


def _places(rows: Sequence[Configuration]) -> list[str]:
    """Each place in which timings were taken, and for how many configurations."""
    counts: dict[str, int] = {}
    for row in rows:
        for place in row.timing:
            device, name, precision, threads, parallel = place
            text = f"{name} ({device}), {threads} threads, {precision}" + (
                ", in parallel" if parallel == "True" else ""
            )
            counts[text] = counts.get(text, 0) + 1
    return [f"{text}: {count} rows" for text, count in counts.items()]


def _leaves(value: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for key, item in value.items():
        if isinstance(item, Mapping) and item:
            yield from _leaves(item, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", item


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _sortable(text: str) -> tuple[int, float, str]:
    try:
        return (0, float(text), "")
    except ValueError:
        return (1, 0.0, text)
