"""Output of a comparison: terminal tables, Markdown, CSV, JSON, and one HTML file."""

import html
import json
from collections.abc import Callable, Mapping, Sequence
from itertools import repeat
from typing import Any

import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from unrolled.compare.comparison import NAMES, Comparison, is_best
from unrolled.console import natural_width, plain_table, say
from unrolled.train.columns import COLUMNS, Column
from unrolled.train.results import RunResult

# Left out one after the other, in this order, where the terminal is too narrow for all columns.
LEAST_NEEDED = (
    *("status", "encoder", "ms/step", "time s", "memory MiB", "val acc %", "macro F1 %", "tokens/s"),
    *("over linear %", "p"),
)


def texts(comparison: Comparison, section: pd.DataFrame, best: str, quote: Callable[[str], str] = str) -> pd.DataFrame:
    """The rows of ``section`` as they are shown, under the columns' titles; measured columns only where there are any.

    best: how the best of a column is marked, as ``**{}**``; quote: what is done to titles and texts that users wrote.
    """
    shown = section[comparison.keys].fillna("-").map(quote).rename(columns=quote)
    for name in ("seeds", "folds"):
        if name == "seeds" or comparison.table[name].map(len).any():
            shown[name] = section[name].map(lambda numbers: ",".join(map(str, numbers)))
    marked = is_best(section)
    for column in COLUMNS:
        if any(column.of(run) is not None for runs in comparison.table.finished for run in runs):
            cells = map(_mean_and_deviation, repeat(column), section[column.name], section[f"{column.name}_std"])
            shown[column.title] = [
                best.format(text) if mark else text for text, mark in zip(cells, marked[column.name], strict=True)
            ]
    shown["p"] = ["" if pd.isna(p) else "<0.001" if p < 0.001 else f"{p:.3f}" for p in section.p_value]
    shown.loc[section.best, "p"] = "best"
    shown["p"] = shown["p"].map(quote)
    return shown.assign(status=section.status)


def _mean_and_deviation(column: Column, mean: float, deviation: float) -> str:
    """``81.20 ± 0.31``, without the deviation for a single run; where timings do not go together, a dash."""
    if pd.isna(mean):
        return "-"
    if pd.isna(deviation) or column.name in ("parameters", "encoder_parameters"):
        return column.text(mean)
    return f"{column.text(mean)} ± {column.text(deviation)}"


def ended_badly(run: RunResult) -> str:
    """One line about a run that failed, was interrupted or is not finished."""
    reason = run.error or ("still running, or killed" if run.status == "running" else "")
    seed = run.config.get("seed")
    return f"{run.directory}: {run.status}" + (f" ({reason})" if reason else "") + f"; {run.name}, seed {seed}"


def print_table(comparison: Comparison, console: Console) -> None:
    """A rich table per section; the best of a column in bold green with a star.

    Settings that would take more than half of the terminal's width become one column; measured columns that do not fit
    beside them are left out and named.
    """
    mark, names = "[bold green]{}*[/]", len(comparison.keys)
    sections = [(title, texts(comparison, section, mark, escape)) for title, section in comparison.sections()]
    settings = [_rich("", shown.iloc[:, :names], names) for _, shown in sections]
    several = sum(comparison.table[key].nunique(dropna=False) > 1 for key in comparison.keys) > 1
    in_short = several and any(natural_width(table, console) > console.width / 2 for table in settings)
    if in_short:
        labels = [section.label.map(escape).rename("configuration") for _, section in comparison.sections()]
        sections = [
            (title, pd.concat([label, shown.iloc[:, names:]], axis="columns"))
            for (title, shown), label in zip(sections, labels, strict=True)
        ]
        names = 1
    left_out: list[str] = []
    for name in ("", *LEAST_NEEDED):
        left_out += [name] if name in sections[0][1] else []
        tables = [_rich(title, shown.drop(columns=left_out), names) for title, shown in sections]
        if max(natural_width(table, console) for table in tables) <= console.width:
            break
    for table in tables:
        console.print(table)
        console.print()
    if left_out or in_short:
        missing = left_out + ["all settings in columns of their own"] * in_short
        console.print(
            f"Too narrow for: {', '.join(missing)}; a wider terminal or --format csv has them.\n", highlight=False
        )
    for note in comparison.notes:
        console.print(note, highlight=False)
    if comparison.not_ok:
        say(console, "\nRuns that did not finish:")
        for run in comparison.not_ok:
            say(console, f"  {ended_badly(run)}")


def _rich(title: str, shown: pd.DataFrame, names: int) -> Table:
    table = plain_table(list(shown), shown.itertuples(index=False), names, title=escape(title) or None)
    if "configuration" in shown:
        table.columns[0].max_width = 40
    return table


def markdown_table(titles: Sequence[str], rows: Sequence[Sequence[str]], names: int) -> str:
    """A GitHub Markdown table whose first ``names`` columns are aligned to the left, the others to the right."""
    ruler = ["---"] * names + ["---:"] * (len(titles) - names)
    lines = (titles, ruler, *([text.replace("|", "\\|") for text in row] for row in rows))
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def to_markdown(comparison: Comparison) -> str:
    """Tables as GitHub renders them; the best of a column in bold."""
    parts = []
    for title, section in comparison.sections():
        shown = texts(comparison, section, "**{}**")
        table = markdown_table(list(shown), shown.to_numpy().tolist(), len(comparison.keys))
        parts.append(f"### {title}\n\n{table}" if title else table)
    parts += comparison.notes
    if comparison.not_ok:
        lines = "\n".join(f"- {ended_badly(run)}" for run in comparison.not_ok)
        parts.append(f"Runs that did not finish:\n\n{lines}")
    return "\n\n".join(parts) + "\n"


def to_frame(comparison: Comparison) -> pd.DataFrame:
    """A row per configuration: settings, then mean and deviation of each measured column, and its runs' directories."""
    table = comparison.table
    sections = ["section"] if table.section.any() else []
    folds = ["folds"] if table.folds.map(len).any() else []
    numbers = [name for column in NAMES for name in (column, f"{column}_std")]
    about = ["best", "p_value", "timings_comparable", "status", "runs"]
    table = table[[*sections, *comparison.keys, "seeds", *folds, *numbers, *about]]
    return table.assign(runs=[[str(run.directory) for run in runs] for runs in table.runs])


def to_csv(comparison: Comparison) -> str:
    """``to_frame`` as CSV, lists joined by blanks, empty where there is no number."""
    frame = to_frame(comparison)
    return frame.map(lambda v: " ".join(map(str, v)) if isinstance(v, list) else v).to_csv(index=False)


def to_json(comparison: Comparison) -> str:
    """The records of ``to_frame``, the notes, and the runs that did not end well."""
    frame = to_frame(comparison).astype(object)
    not_ok = [
        {"run": str(run.directory), "name": run.name, "status": run.status, "error": run.error}
        for run in comparison.not_ok
    ]
    records = frame.where(frame.notna(), None).to_dict("records")
    content: dict[str, Any] = {"configurations": records, "notes": comparison.notes, "troubled": not_ok}
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem; color: #222; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid #ddd; text-align: right; white-space: nowrap; }
th:nth-child(-n+KEYS), td:nth-child(-n+KEYS) { text-align: left; }
th { cursor: pointer; background: #f4f4f4; }
td b { background: #e4f3e4; }
figure { display: inline-block; margin: 1rem 1rem 1rem 0; max-width: 48rem; }
svg { width: 100%; height: auto; }
"""

# Sorts a table by the column whose heading is clicked: numbers as numbers, texts as texts.
SCRIPT = """
for (const head of document.querySelectorAll('th')) head.onclick = () => {
  const body = head.closest('table').tBodies[0], column = head.cellIndex, up = head.dataset.up !== '1';
  head.dataset.up = up ? '1' : '';
  const key = row => { const text = row.cells[column].textContent, number = parseFloat(text.replace(/,/g, ''));
                       return isNaN(number) ? text : number; };
  const order = (a, b) => typeof a === typeof b ? (a > b) - (a < b) : typeof a === 'number' ? -1 : 1;
  [...body.rows].sort((a, b) => (up ? 1 : -1) * order(key(a), key(b))).forEach(row => body.append(row));
};
"""


def to_html(comparison: Comparison, figures: Mapping[str, str] | None = None) -> str:
    """One page that needs no other file and no server; figures: title -> SVG."""
    parts = [
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'><title>Comparison of runs</title>",
        f"<style>{STYLE.replace('KEYS', str(len(comparison.keys)))}</style></head><body><h1>Comparison of runs</h1>",
    ]
    for title, section in comparison.sections():
        parts += [f"<h2>{html.escape(title)}</h2>"] if title else []
        shown = texts(comparison, section, "<b>{}</b>", html.escape)
        with pd.option_context("display.max_colwidth", None):  # or it would shorten texts
            parts.append(shown.to_html(index=False, escape=False, border=0))
    parts += [f"<p>{html.escape(note)}</p>" for note in comparison.notes]
    for title, svg in (figures or {}).items():
        image = svg[svg.index("<svg") :]  # without the XML head, which HTML does not know
        parts.append(f"<figure>{image}<figcaption>{html.escape(title)}</figcaption></figure>")
    if comparison.not_ok:
        lines = "".join(f"<li>{html.escape(ended_badly(run))}</li>" for run in comparison.not_ok)
        parts.append(f"<h2>Runs that did not finish</h2><ul>{lines}</ul>")
    parts.append(f"<script>{SCRIPT}</script></body></html>\n")
    return "\n".join(parts)


def print_difference(rows: Sequence[tuple[str, str, str]], titles: tuple[str, str], console: Console) -> None:
    table = plain_table(["", *map(escape, titles)], [list(map(escape, row)) for row in rows], names=3)
    console.print(table)
