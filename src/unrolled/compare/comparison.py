"""Comparison of runs: one row per configuration, with mean and standard deviation over its seeds and folds."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import pandas as pd

from unrolled.arguments import counted, leaves, nearest
from unrolled.compare.significance import compare_configurations, repetition
from unrolled.errors import UserError
from unrolled.train.columns import BY_NAME, COLUMNS
from unrolled.train.results import WITHOUT_EFFECT, RunResult, config_hash

NAMES = list(BY_NAME)
TIMINGS = [column.name for column in COLUMNS if column.is_timing]
LABELS = ("data", "model", "implementation")  # columns that stand for whole config groups
TIMED_BY = ("device", "device_name", "precision", "threads", "timed_in_parallel")  # what a timing depends on
IN_PARALLEL = ", in parallel"
REPEATED_OVER = ("seed", "data.fold")  # runs that differ in nothing else are one configuration

# Keys of `data` that leave the documents as they are; all others say which documents a run is tested on.
SAME_DOCUMENTS = ("valid_share", "valid_part", "max_tokens", "cut", "cut_test", "cache_dir", "fold", "folds")
ALWAYS_NAMED = ("path", "name", "train")  # keys of `data` that stand in a section's title where they are texts


@dataclass
class Comparison:
    """The result of a comparison, which `compare.py` shows.

    table: a row per configuration, best first in each section. Its columns are ``section`` (title), ``documents`` (the
    part of it that says which documents were read), the settings of ``keys``, each name of ``COLUMNS`` with the mean
    over the finished runs and ``<name>_std`` with the standard deviation (n - 1), NaN where there is none or timings
    come from different places; ``best`` (in test accuracy in its section; several where they tie), ``p_value``
    (against that), ``timings_comparable`` (in its section), ``status``, ``seeds`` and ``folds`` of the finished runs,
    ``runs``, ``finished`` (of these, status ok), ``places`` (in which they were timed) and ``label`` (a short text that
    tells it from the others).
    """

    table: pd.DataFrame
    keys: list[str]  # the model, and the settings in which configurations of a section differ
    not_ok: list[RunResult]  # failed, interrupted or unfinished runs
    notes: list[str]

    def sections(self) -> Iterator[tuple[str, pd.DataFrame]]:
        """Title and rows of the configurations that are ranked together."""
        for title, rows in self.table.groupby("section", sort=False):
            yield str(title), rows


def compare(
    runs: Sequence[RunResult], filters: Sequence[str] = (), sort: str = "test_accuracy", group: str | None = None
) -> Comparison:
    """Gather ``runs``, the oldest first, into configurations and compare these. Different data are never ranked.

    filters: ``key=value`` or ``key=one,other``: only such runs, the key being a setting, ``seed``, ``status``, ``name``
    or what a timing depends on; sort: a column of ``COLUMNS`` (best first) or a setting; group: a setting whose values
    get a section each.

    Raises UserError for an unknown key, where no run is left, and where incomparable timings were to be ranked.
    """
    readable = [run for run in runs if run.status != "unreadable"]
    kept = _filtered(readable, filters)
    if not kept:
        raise UserError(
            f"no run is left by --filter {' '.join(filters)}; {len(readable)} were found before filtering"
            if filters
            else f"none of the {len(runs)} runs can be read; the first: {runs[0].error}"
        )
    table = _configurations(kept)
    settings = pd.DataFrame([flatten(of[0]) for of in table.runs], index=table.index, dtype=object)
    if group is not None and group not in settings:
        raise _unknown(group, settings.columns, "--group")
    if sort not in BY_NAME and sort not in settings:
        raise _unknown(sort, [*BY_NAME, *settings.columns], "--sort")
    # What only some have, and is the same in all of these, belongs to the choice that brought it: no column.
    differing = [key for key in settings if settings[key].nunique() > 1]
    if "model.cell" in differing and settings.groupby("model", dropna=False)["model.cell"].nunique().max() == 1:
        differing.remove("model.cell")  # it says again what the name of the model says
    named = [key for key in settings if key in ("model", *differing)]
    table["label"] = _labels(settings[named]) if differing else [of[0].name for of in table.runs]
    table["documents"] = table["section"] = _titles([of[0] for of in table.runs])
    if group is not None:
        groups = f"{group}=" + settings[group].fillna("-")
        told = [f"{title}, {of}" if title else of for title, of in zip(table.section, groups, strict=True)]
        table["section"] = table.section if group == "data" and table.section.any() else told
    table = pd.concat([settings, table], axis="columns")
    sections = [_ranked(section.copy(), sort) for _, section in table.groupby("section", sort=False)]
    keys = [key for key in differing if any(s[key].nunique(dropna=False) > 1 for s in sections)]
    keys = [key for key in dict.fromkeys(["model", *keys]) if key in settings and key != group]  # always which model
    table = pd.concat(sections).drop(columns=[key for key in settings if key not in keys])
    not_ok = [run for run in kept if run.status != "ok"] + [run for run in runs if run.status == "unreadable"]
    return Comparison(table, keys, not_ok, _notes(table))


def is_best(section: pd.DataFrame) -> pd.DataFrame:
    """For each row and each name of ``COLUMNS`` whether it is the best of ``section``: no timings that cannot be."""
    best = pd.DataFrame(False, index=section.index, columns=NAMES)
    for column in COLUMNS:
        values = section[column.name]
        if values.nunique() > 1 and (section.timings_comparable.all() or not column.is_timing):
            best[column.name] = values == (values.max() if column.higher_is_better else values.min())
    return best


def flatten(run: RunResult) -> dict[str, str]:
    """A run's settings as dotted keys and texts; ``data``, ``model`` and ``implementation`` stand for their targets.

    Neither seed and fold nor what has no effect is among them.
    """
    flat: dict[str, str] = {name: str(getattr(run, name)) for name in LABELS if getattr(run, name)}
    left_out = tuple(f"{key}." for key in (*REPEATED_OVER, *WITHOUT_EFFECT, "model.implementation", "choices"))
    for key, value in leaves(run.config):
        if f"{key}.".startswith(left_out):
            continue
        if key.endswith("._target_"):
            if key.split(".")[0] in flat:
                continue
            key, value = key.removesuffix("._target_"), str(value).rsplit(".", 1)[-1]
        flat[key] = _text(value)
    return flat


def difference(first: RunResult, second: RunResult) -> list[tuple[str, str, str]]:
    """(key, value in first, value in second) for each setting, seed included, and each measured column that differs."""
    one, two = ({**_repetition(run), **flatten(run)} for run in (first, second))
    rows = [(key, one.get(key, "-"), two.get(key, "-")) for key in dict.fromkeys([*one, *two])]
    rows += [(c.label, c.text_with_unit(c.of(first)), c.text_with_unit(c.of(second))) for c in COLUMNS]
    return [row for row in rows if row[1] != row[2]]


def _filtered(runs: Sequence[RunResult], filters: Sequence[str]) -> list[RunResult]:
    known = pd.DataFrame(
        [
            flatten(run)
            | _repetition(run)
            | {"status": run.status, "name": run.name}
            | {key: str(run.environment[key]) for key in TIMED_BY if key in run.environment}
            for run in runs
        ]
    )
    kept = pd.Series(True, index=known.index)
    for text in filters:
        key, equals, wanted = text.partition("=")
        if not equals:
            raise UserError(f"--filter {text}: write key=value, for example --filter model=lstm")
        if key not in known:
            raise _unknown(key, known.columns, "--filter")
        kept &= known[key].isin(wanted.split(","))
    return [runs[number] for number in known.index[kept]]


def _configurations(runs: Sequence[RunResult]) -> pd.DataFrame:
    """A row for all runs that differ in nothing but seed and fold: means and deviations, and the runs themselves.

    Of a run that was repeated the newest counts, or the newest that was finished.
    """
    frame = pd.DataFrame(
        {
            "run": runs,
            "hash": [run.config_hash for run in runs],
            "configuration": [_without_repetition(run) for run in runs],
            "ok": [run.status == "ok" for run in runs],
            "place": [_place(run) for run in runs],
        }
    )
    frame[NAMES] = pd.DataFrame([[column.of(run) for column in COLUMNS] for run in runs], columns=NAMES, dtype=float)
    newest = frame.sort_values("ok", kind="stable").drop_duplicates("hash", keep="last").sort_index()
    finished = newest[newest.ok].groupby("configuration", sort=False)
    deviation = finished[NAMES].std().add_suffix("_std")
    mean = finished[NAMES].mean().round(6)  # 0.95 is the same accuracy in float32 and in float64
    numbers = pd.concat([mean, deviation], axis="columns")
    numbers.loc[finished.place.nunique() > 1, [*TIMINGS, *(f"{name}_std" for name in TIMINGS)]] = float("nan")
    table = newest.groupby("configuration", sort=False).run.agg(list).to_frame("runs")
    table["finished"] = [[run for run in of if run.status == "ok"] for of in table.runs]
    for number, name in enumerate(("seeds", "folds")):
        table[name] = [
            sorted({value for run in of if (value := repetition(run)[number]) is not None}) for of in table.finished
        ]
    table["status"] = [_status(of) for of in table.runs]
    table["places"] = [list(dict.fromkeys(_place(run) for run in of)) for of in table.finished]
    return table.join(numbers)


def _ranked(section: pd.DataFrame, by: str) -> pd.DataFrame:
    """The section in its order, with ``best``, ``p_value`` and ``timings_comparable``."""
    places = {place for of in section.places for place in of}
    section["timings_comparable"] = len(places) <= 1 and not any(place.endswith(IN_PARALLEL) for place in places)
    section["best"], section["p_value"] = False, float("nan")
    if section.test_accuracy.count() > 1:
        best = section.test_accuracy.idxmax()
        section["best"] = section.test_accuracy == section.test_accuracy[best]
        for other in section.index[section.test_accuracy.notna() & ~section.best]:
            p = compare_configurations(section.finished[best], section.finished[other])
            section.loc[other, "p_value"] = float("nan") if p is None else p
    column = BY_NAME.get(by)
    if column is None:
        texts = section[by].fillna("")
        order = pd.DataFrame({"number": pd.to_numeric(texts, errors="coerce"), "text": texts})
        return section.loc[order.sort_values(["number", "text"], kind="stable").index]
    if column.is_timing and not section.timings_comparable.all():
        raise UserError(
            f"--sort {by}: these timings were taken in different places ({_counted_places(section)}) and cannot be "
            "ranked; filter until one place is left, for example --filter threads=2, or repeat the runs"
        )
    return section.sort_values(by, ascending=not column.higher_is_better, kind="stable")


def _titles(runs: Sequence[RunResult]) -> list[str]:
    """For each run a title that says which documents it read; empty texts where these are the same for all."""
    read = pd.DataFrame([_documents(run) for run in runs], dtype=object)
    count = read.pop("documents")
    read = read.fillna("-")
    same = count.groupby([read[key] for key in read]).transform("first")
    read["documents"] = count.fillna(same).fillna("-")  # unknown for a run that stopped before it had read them
    if read.nunique().max() == 1:
        return ["" for _ in runs]
    titles = pd.Series("", index=read.index)
    for data, rows in read.groupby("data"):
        told = [key for key in read if key != "data" and rows[key].nunique() > 1]
        for number, row in rows.iterrows():
            given = runs[number].config.get("data", {})
            named = [key for key in ALWAYS_NAMED if isinstance(given.get(key), str) and key not in told]
            titles[number] = " ".join(
                [f"data={data}", *(f"{key}={row[key]}" for key in (*named, *told) if row[key] != "-")]
            )
    return list(titles)


def _documents(run: RunResult) -> dict[str, Any]:
    given = run.config.get("data", {})
    splits = run.data_summary.get("splits", {})
    return {
        "data": run.data,
        **{key: _text(value) for key, value in given.items() if key not in SAME_DOCUMENTS},
        "folds": "-" if repetition(run)[1] is None else str(given.get("folds")),
        "documents": sum(split["documents"] for split in splits.values()) or None,  # a file may have changed
    }


def _labels(settings: pd.DataFrame) -> list[str]:
    """For each row a short text that no other row has: without what more than half of all rows have in common."""
    parts = settings.copy()
    for key in settings:
        rare = settings[key].map(settings[key].value_counts(normalize=True, dropna=False)) <= 0.5
        parts[key] = settings[key] if key in LABELS else (f"{key.rsplit('.', 1)[-1]}=" + settings[key]).where(rare)
    labels = [" ".join(row.dropna()) or "common settings" for _, row in parts.iterrows()]
    if len(set(labels)) < len(labels) and settings.isna().any(axis=None):  # some differ in what only others have
        return _labels(settings.fillna("-"))
    return labels


def _repetition(run: RunResult) -> dict[str, str]:
    seed, fold = repetition(run)
    return {"seed": str(seed)} | ({} if fold is None else {"data.fold": str(fold)})


def _without_repetition(run: RunResult) -> str:
    """The same text for all runs that differ in nothing but seed and fold."""
    _, fold = repetition(run)
    if fold is None:
        return run.config_hash_without_seed
    return f"folds {config_hash(run.config, (*WITHOUT_EFFECT, *REPEATED_OVER))}"


def _status(runs: Sequence[RunResult]) -> str:
    counts = Counter(run.status for run in runs)
    return ", ".join(f"{count} {status}" if len(runs) > 1 else status for status, count in counts.items())


def _unknown(key: str, known: Iterable[str], option: str) -> UserError:
    names = sorted(known)
    close = dict.fromkeys([*nearest(key, names)[:2], *get_close_matches(key, names)])
    return UserError(f"{option} {key}: no run has this key" + (f"; did you mean {', '.join(close)}?" if close else ""))


def _notes(table: pd.DataFrame) -> list[str]:
    notes = []
    if not table.timings_comparable.all():
        notes.append(
            "Speed, memory and time are NOT comparable here and none is marked as best; timings were taken on "
            + _counted_places(table)
        )
    if (table.places.map(len) > 1).any():
        notes.append("Timings of one configuration that were taken in different places are not averaged but left out.")
    if table.p_value.notna().any():
        notes.append(
            "p: McNemar's exact test against the best on the same test documents, the median over seeds, not corrected "
            "for several comparisons."
        )
    if table.over_linear.notna().any():
        notes.append(
            "over linear: test accuracy less that of the linear model which each run fits to its own documents."
        )
    if (table.finished.map(len) > 1).any():
        over = "seeds and folds" if table.folds.map(len).any() else "seeds"
        notes.append(f"Means over {over}, with the standard deviation (n - 1).")
    return notes


def _place(run: RunResult) -> str:
    device, name, precision, threads, parallel = (str(run.environment.get(key)) for key in TIMED_BY)
    return f"{name} ({device}), {threads} threads, {precision}" + (IN_PARALLEL if parallel == "True" else "")


def _counted_places(table: pd.DataFrame) -> str:
    """Each place in which timings were taken, and for how many configurations."""
    counts = Counter(place for of in table.places for place in of)
    return "; ".join(f"{place}: {counted(count, 'row')}" for place, count in counts.items())


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
