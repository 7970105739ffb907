"""The command line of `compare.py`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from unrolled.console import wide_console
from unrolled.files import write_atomically
from unrolled.train.columns import COLUMNS
from unrolled.train.results import find_runs, load_result

DESCRIPTION = """\
Compare runs: one row per configuration, with mean ± standard deviation over its
seeds and the folds of a cross-validation (data.fold=0,1,2).

Columns are the model and the settings in which the configurations differ, then
accuracy, its distance from the linear baseline, parameters, speed, memory and
time; the best of each column is marked. Runs on different data have a table
each. Runs that failed or were interrupted are listed with their reason.
"""

EXAMPLES = """\
examples:
  python compare.py                                 everything under runs/
  python compare.py runs/ --filter data=newsgroups --sort parameters
  python compare.py runs/ --group model --format md > table.md
  python compare.py --diff runs/a/2026-01-31_12-00-00-000000 runs/latest
  python compare.py runs/ --plot plots --html compare.html
  python compare.py runs/ --tensorboard bands && tensorboard --logdir bands
"""


def main(arguments: Sequence[str]) -> None:
    options = _parser().parse_args(arguments)
    from unrolled.compare import bands, plots, report  # slow to import: not before the arguments are known to be right
    from unrolled.compare.comparison import compare, difference
    from unrolled.compare.significance import compare_runs

    console = wide_console()
    if options.diff:
        first, second = (load_result(path) for path in options.diff)
        rows = difference(first, second)
        p = compare_runs(first, second)
        if p is not None:
            rows.append(("McNemar's p", f"{p:.3g}", f"{p:.3g}"))
        report.print_difference(rows, (str(first.directory), str(second.directory)), console)
        return
    comparison = compare(find_runs(options.runs), options.filter, options.sort, options.group)
    if options.format == "table":
        report.print_table(comparison, console)
    elif options.format == "html":
        sys.stdout.write(report.to_html(comparison, plots.as_svg(comparison)))
    else:
        written = {"md": report.to_markdown, "csv": report.to_csv, "json": report.to_json}[options.format]
        sys.stdout.write(written(comparison))
    if options.plot:
        for path in plots.save_plots(comparison, options.plot):
            _say(f"wrote {path}")
    if options.html:
        write_atomically(options.html, report.to_html(comparison, plots.as_svg(comparison)))
        _say(f"wrote {options.html}")
    if options.tensorboard:
        for path in bands.write_bands(comparison, options.tensorboard):
            _say(f"wrote {path}")
        _say(f"tensorboard --logdir {options.tensorboard}   (bands: the Custom Scalars tab)")


def _say(text: str) -> None:
    """On standard error, so that standard output stays the table alone."""
    sys.stderr.write(f"{text}\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "compare.py", description=DESCRIPTION, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("runs", nargs="*", type=Path, default=[Path("runs")], help="directories that hold runs, at any depth (runs)")
    add(
        "--filter",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="only runs with this value; KEY is a setting (model.hidden_size), model, data, implementation, seed, "
        "status, name, device or threads; KEY=ONE,OTHER takes either; several filters must all hold",
    )
    names = ", ".join(column.name for column in COLUMNS)
    add("--sort", default="test_accuracy", metavar="COLUMN", help=f"best first: {names}; or a setting (%(default)s)")
    add(
        "--group",
        metavar="KEY",
        help="a table for each value of this setting, with its own best; different data always have one each",
    )
    add("--diff", nargs=2, type=Path, metavar=("A", "B"), help="two runs: the settings and results that differ")
    formats = ("table", "md", "csv", "json", "html")
    add("--format", choices=formats, default="table", help="of standard output (%(default)s)")
    add("--plot", type=Path, metavar="DIR", help="write accuracy over parameters, over speed, and learning curves")
    add("--html", type=Path, metavar="FILE", help="write one page with tables and plots that needs no server")
    add("--tensorboard", type=Path, metavar="DIR", help="write mean, lower and upper curves as event files")
    return parser
