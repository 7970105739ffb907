"""A comparison written down: on the terminal, as Markdown, CSV, JSON or one HTML file."""

import csv
import html
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from unrolled.compare.comparison import COLUMNS, Column, Comparison, Configuration, Section
from unrolled.train.results import RunResult

FORMATS = ("table", "md", "csv", "json", "html")


def columns_shown(comparison: Comparison) -> list[Column]:
    """The measured columns that have a number in some row."""
    return [column for column in COLUMNS if any(row.values(column) for row in comparison.rows)]


def headings(comparison: Comparison) -> list[str]:
    """Titles of all columns of a table."""
    measured = [column.title for column in columns_shown(comparison)]
    return [*comparison.keys, "seeds", *measured, "p", "status"]


def cells(comparison: Comparison, section: Section, row: Configuration) -> list[tuple[str, bool]]:
    """(text, is the best) for each column of ``headings``."""
    settings = [(row.flat.get(key, "-"), False) for key in comparison.keys]
    measured = [(mean_and_deviation(row, column), section.is_best(row, column)) for column in columns_shown(comparison)]
    seeds = ",".join(str(seed) for seed in row.seeds)
    return [*settings, (seeds, False), *measured, (p_text(row), False), (row.status, False)]


def mean_and_deviation(row: Configuration, column: Column) -> str:
    """``81.20 ± 0.31``, without the deviation for a single seed; where timings do not go together, a dash."""
    mean, deviation = row.mean(column), row.deviation(column)
    if mean is None:
        return "-"
    text = column.text(mean)
    if deviation is None or column.name in ("parameters", "encoder_parameters"):
        return text
    return f"{text} ± {column.text(deviation)}"


def p_text(row: Configuration) -> str:
    """McNemar's p against the best."""
    if row.is_best:
        return "best"
    return "" if row.p_value is None else ("<0.001" if row.p_value < 0.001 else f"{row.p_value:.3f}")


def trouble(run: RunResult) -> str:
    """One line about a run that did not end well."""
    reason = run.error or ("still at work, or killed" if run.status == "running" else "")
    seed = run.config.get("seed")
    return f"{run.directory}: {run.status}" + (f" ({reason})" if reason else "") + f"; {run.name}, seed {seed}"


# Given up one after the other, from the left, where the terminal is too narrow for all columns.
LEAST_NEEDED = ("encoder", "ms/step", "time s", "MiB", "p", "best val %", "macro F1 %", "status", "tokens/s")


def print_table(comparison: Comparison, console: Console) -> None:
    """A rich table per section; the best of a column in bold green with a star. What does not fit is named."""
    left_out: list[str] = []
    for title in ("", *LEAST_NEEDED):
        left_out += [title] if title else []
        tables = [_table(comparison, section, left_out) for section in comparison.sections]
        if max(natural_width(table, console) for table in tables) <= console.width:
            break
    for table in tables:
        console.print(table)
        console.print()
    shown = [title for title in left_out if title in headings(comparison)]
    if shown:
        console.print(
            f"Too narrow for: {', '.join(shown)}; a wider terminal or --format csv has them.\n", highlight=False
        )
    for note in comparison.notes:
        console.print(note, highlight=False)
    if comparison.troubled:
        console.print("\nRuns that did not end well:", highlight=False)
        for run in comparison.troubled:
            console.print(f"  {trouble(run)}", highlight=False, markup=False, soft_wrap=True)


def natural_width(table: Table, console: Console) -> int:
    """Columns of a terminal in which nothing of ``table`` is wrapped."""
    return table.__rich_measure__(console, console.options.update(width=10_000, max_width=10_000)).maximum


def _table(comparison: Comparison, section: Section, left_out: Sequence[str]) -> Table:
    table = Table(title=section.title or None, title_justify="left", show_edge=False, pad_edge=False)
    titles = headings(comparison)
    kept = [number for number, title in enumerate(titles) if title not in left_out]
    for number in kept:
        text = number < len(comparison.keys) or titles[number] == "status"
        table.add_column(titles[number], justify="left" if text else "right", overflow="fold")
    for row in section.rows:
        texts = cells(comparison, section, row)
        marked = [f"[bold green]{escape(text)}*[/]" if best else escape(text) for text, best in texts]
        table.add_row(*(marked[number] for number in kept))
    return table


def to_markdown(comparison: Comparison) -> str:
    """Tables as GitHub renders them; the best of a column in bold."""
    titles = headings(comparison)
    parts = []
    for section in comparison.sections:
        lines = [f"### {section.title}", ""] if section.title else []
        lines.append("| " + " | ".join(titles) + " |")
        lines.append(
            "| " + " | ".join("---" if i < len(comparison.keys) else "---:" for i in range(len(titles))) + " |"
        )
        for row in section.rows:
            texts = [(text.replace("|", "\\|"), best) for text, best in cells(comparison, section, row)]
            lines.append("| " + " | ".join(f"**{text}**" if best else text for text, best in texts) + " |")
        parts.append("\n".join(lines))
    parts += comparison.notes
    if comparison.troubled:
        parts.append("Runs that did not end well:\n\n" + "\n".join(f"- {trouble(run)}" for run in comparison.troubled))
    return "\n\n".join(parts) + "\n"


def to_records(comparison: Comparison) -> list[dict[str, Any]]:
    """One flat record per configuration: settings, then mean, deviation and count for each measured column."""
    records = []
    for section in comparison.sections:
        for row in section.rows:
            record: dict[str, Any] = {"section": section.title} if section.title else {}
            record |= {key: row.flat.get(key) for key in comparison.keys}
            record["seeds"] = row.seeds
            for column in COLUMNS:
                record[column.name] = row.mean(column)
                record[f"{column.name}_std"] = row.deviation(column)
            record |= {
                "best": row.is_best,
                "p_value": row.p_value,
                "timings_comparable": section.timings_comparable,
                "status": row.status,
                "runs": [str(run.directory) for run in row.runs],
            }
            records.append(record)
    return records


def to_csv(comparison: Comparison) -> str:
    """``to_records`` as CSV, lists joined by blanks, empty where there is no number."""
    records = to_records(comparison)
    out = io.StringIO()
    writer = csv.DictWriter(out, list(records[0]), lineterminator="\n")
    writer.writeheader()
    for record in records:
        joined = {k: " ".join(map(str, v)) if isinstance(v, list) else v for k, v in record.items()}
        writer.writerow(joined)
    return out.getvalue()


def to_json(comparison: Comparison) -> str:
    """``to_records``, the notes, and the runs that did not end well."""
    troubled = [
        {"run": str(run.directory), "name": run.name, "status": run.status, "error": run.error}
        for run in comparison.troubled
    ]
    content = {"configurations": to_records(comparison), "notes": comparison.notes, "troubled": troubled}
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem; color: #222; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid #ddd; text-align: right; white-space: nowrap; }
th:nth-child(-n+KEYS), td:nth-child(-n+KEYS) { text-align: left; }
th { cursor: pointer; background: #f4f4f4; }
td.best { font-weight: bold; background: #e4f3e4; }
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
    keys = len(comparison.keys)
    parts = [
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'><title>Comparison of runs</title>",
        f"<style>{STYLE.replace('KEYS', str(keys))}</style></head><body><h1>Comparison of runs</h1>",
    ]
    for section in comparison.sections:
        if section.title:
            parts.append(f"<h2>{html.escape(section.title)}</h2>")
        head = "".join(f"<th>{html.escape(title)}</th>" for title in headings(comparison))
        parts.append(f"<table><thead><tr>{head}</tr></thead><tbody>")
        for row in section.rows:
            tds = "".join(
                f"<td{' class=best' if best else ''}>{html.escape(text)}</td>"
                for text, best in cells(comparison, section, row)
            )
            parts.append(f"<tr>{tds}</tr>")
        parts.append("</tbody></table>")
    parts += [f"<p>{html.escape(note)}</p>" for note in comparison.notes]
    for title, svg in (figures or {}).items():
        drawing = svg[svg.index("<svg") :]  # without the XML head, which HTML does not know
        parts.append(f"<figure>{drawing}<figcaption>{html.escape(title)}</figcaption></figure>")
    if comparison.troubled:
        lines = "".join(f"<li>{html.escape(trouble(run))}</li>" for run in comparison.troubled)
        parts.append(f"<h2>Runs that did not end well</h2><ul>{lines}</ul>")
    parts.append(f"<script>{SCRIPT}</script></body></html>\n")
    return "\n".join(parts)


def print_difference(rows: Sequence[tuple[str, str, str]], titles: tuple[str, str], console: Console) -> None:
    """Two runs side by side, only what differs."""
    table = Table(show_edge=False, pad_edge=False)
    for title in ("", *titles):
        table.add_column(escape(title), overflow="fold")
    for row in rows:
        table.add_row(*map(escape, row))
    console.print(table)
