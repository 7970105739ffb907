import csv
import html
import io
import json

import pytest
from rich.console import Console

from unrolled.compare.comparison import compare
from unrolled.compare.report import print_table, to_csv, to_html, to_json, to_markdown
from unrolled.train.results import find_runs


@pytest.fixture
def comparison(record, tmp_path):
    record("lstm", 0, 0.8, right=[True] * 8 + [False] * 2)
    record("lstm", 1, 0.9, right=[True] * 9 + [False])
    record("a|b", 0, 0.5, right=[True] * 5 + [False] * 5)
    record("gru", error="no <memory>")
    return compare(find_runs([tmp_path]))


def test_the_table_marks_the_best_and_lists_what_failed(comparison) -> None:
    out = io.StringIO()
    print_table(comparison, Console(file=out, width=250))
    text = out.getvalue()
    assert "85.00 ± 7.07*" in text
    assert "0,1" in text
    assert "failed (RuntimeError: no <memory>)" in text


def test_markdown_has_a_cell_per_column_in_each_row(comparison) -> None:
    lines = [line for line in to_markdown(comparison).splitlines() if line.startswith("|")]
    widths = {line.replace("\\|", "").count("|") for line in lines}
    assert len(lines) == 2 + 3
    assert len(widths) == 1
    assert "**85.00 ± 7.07**" in lines[2]


def test_the_distance_from_the_linear_baseline_is_a_column_where_runs_have_one(comparison, record, tmp_path) -> None:
    assert "over linear" not in to_markdown(comparison)
    record("rnn", 0, 0.6, baseline={"test/accuracy": 0.625})
    lines = to_markdown(compare(find_runs([tmp_path]))).splitlines()
    place = lines[0].split(" | ").index("over linear %")
    cells = {line.split(" | ")[0]: line.split(" | ")[place] for line in lines[2:6]}
    assert cells["| rnn"] == "-2.50"
    assert cells["| lstm"] == "-"


def test_csv_and_json_hold_the_same_numbers(comparison) -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv(comparison))))
    records = json.loads(to_json(comparison))
    assert [row["model"] for row in rows] == [record["model"] for record in records["configurations"]]
    assert float(rows[0]["test_accuracy"]) == records["configurations"][0]["test_accuracy"] == pytest.approx(0.85)
    assert rows[0]["seeds"] == "0 1"
    assert rows[2]["test_accuracy"] == ""
    assert records["troubled"][0]["error"] == "RuntimeError: no <memory>"


def test_the_page_stands_alone_and_escapes_what_users_wrote(comparison) -> None:
    page = to_html(comparison, {"A plot": "<?xml version='1.0'?><svg><path/></svg>"})
    assert "no &lt;memory&gt;" in page
    assert "<figure><svg><path/></svg><figcaption>A plot" in page
    for outside in ("src=", "href=", "@import", "url("):
        assert outside not in page
    assert page.count("<tr") == 1 + 3
    assert "<b>85.00 ± 7.07</b>" in page
    assert "<td>a|b</td>" in page


def test_a_narrow_terminal_gets_fewer_columns_and_says_which(comparison) -> None:
    out = io.StringIO()
    print_table(comparison, Console(file=out, width=70))
    text = out.getvalue()
    assert "Too narrow for: status, encoder, ms/step" in text
    assert "85.00 ± 7.07*" in text
    assert max(map(len, text.split("Too narrow")[0].splitlines())) <= 70


def test_long_settings_are_whole_in_every_format_and_never_read_as_marks(record, tmp_path) -> None:
    long = "a [bold] {} <i> " * 10 + "*"
    record("lstm", 0, 0.5, config={"note": long})
    record("lstm", 0, 0.7, config={"note": "*"})
    comparison = compare(find_runs([tmp_path]))
    out = io.StringIO()
    print_table(comparison, Console(file=out, width=300))
    assert long in out.getvalue()
    assert long in to_markdown(comparison)
    assert html.escape(long) in to_html(comparison)
    assert next(csv.DictReader(io.StringIO(to_csv(comparison))))["note"] == "*"


def test_many_settings_become_one_column_where_the_terminal_is_narrow(record, tmp_path) -> None:
    settings = {f"a_rather_long_setting_{number}": 0 for number in range(8)}
    for number in range(4):
        record("lstm", 0, number / 10, config=settings | {f"a_rather_long_setting_{number}": 1})
    comparison = compare(find_runs([tmp_path]))
    assert len(comparison.keys) == 1 + 4
    narrow, wide = io.StringIO(), io.StringIO()
    print_table(comparison, Console(file=narrow, width=70))
    print_table(comparison, Console(file=wide, width=300))
    lines = narrow.getvalue().split("Too narrow")[0].splitlines()
    assert max(map(len, lines)) <= 70
    assert lines[0].startswith("configuration")
    for number, line in zip((3, 2, 1, 0), lines[2:6], strict=True):
        assert f"a_rather_long_setting_{number}=1 " in line
        assert f"{10 * number}.00" in line
    assert "all settings in columns of their own" in narrow.getvalue()
    assert "configuration" not in wide.getvalue()
    assert "Too narrow" not in wide.getvalue()
