"""What all studies have in common: their command line, their files, their exit status."""

import csv
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from matplotlib.figure import Figure
from tests.train.fresh_process import forked

from unrolled.studies.study import Report, output_folder, run_study
from unrolled.studies.table import StudyTable

STUDY = """
from dataclasses import dataclass
from unrolled.errors import UserError
from unrolled.studies.study import Report, run_study
from unrolled.studies.table import StudyTable

@dataclass
class Row:
    name: str
    value: float

def study(arguments):
    if arguments.jobs == 9:
        raise UserError("nine is too many")
    rows = [Row("a", 0.5 if arguments.quick else 1.5)]
    faults = ["a is too large"] if rows[0].value > 1 else []
    table = StudyTable(["name", "value"], [[row.name, f"{row.value}"] for row in rows])
    return Report(table, rows, "Made up.", {"jobs": arguments.jobs}, csv=True, faults=faults)

if __name__ == "__main__":
    run_study(__file__, study, "A study of one number.", quick="a smaller number")
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    folder = tmp_path / "experiments" / "number"
    folder.mkdir(parents=True)
    (folder / "README.md").write_text("About it.\n<!-- table -->\n<!-- end of table -->\n", encoding="utf-8")
    (folder / "run.py").write_text(STUDY, encoding="utf-8")
    return folder / "run.py"


def test_a_study_shows_its_table_and_writes_its_report_beside_itself(script: Path) -> None:
    done = forked(str(script), "--jobs", "2")
    assert "│ a    │   1.5 │" in done.stdout
    assert (done.returncode, done.stderr) == (1, "error: a is too large\n"), "what should not be ends with status 1"
    raw = json.loads((script.parent / "results.json").read_text(encoding="utf-8"))
    assert raw == {"torch": torch.__version__, "jobs": 2, "rows": [{"name": "a", "value": 1.5}]}
    with (script.parent / "results.csv").open(encoding="utf-8") as lines:
        assert list(csv.DictReader(lines)) == [{"name": "a", "value": "1.5"}]
    readme = (script.parent / "README.md").read_text(encoding="utf-8")
    assert readme.startswith("About it.\n<!-- table -->\n\n| name | value |")
    assert "\n\nMade up.\n\n<!-- end of table -->" in readme


def test_a_quick_study_writes_elsewhere_and_one_that_cannot_work_leaves_all_as_it_was(script: Path) -> None:
    assert forked(str(script), "--quick").returncode == 0
    quick = script.parents[2] / "runs" / "studies" / "quick_number"
    assert json.loads((quick / "results.json").read_text(encoding="utf-8"))["rows"][0]["value"] == 0.5
    failed = forked(str(script), "--jobs", "9")
    assert (failed.returncode, failed.stdout, failed.stderr) == (2, "", "error: nine is too many\n")
    assert {path.name for path in script.parent.iterdir()} == {"README.md", "run.py"}


@dataclass
class Point:
    x: int


def test_the_plot_stands_below_the_text(tmp_path: Path) -> None:
    figure = Figure()
    figure.add_subplot().plot([1, 2])
    table = StudyTable(["x"], [["1"]])
    Report(table, [Point(1)], "Made up.", plot=figure, picture="line.png", caption="a line").write(tmp_path)
    assert (tmp_path / "line.png").stat().st_size > 1_000
    assert "Made up.\n\n![a line](line.png)" in (tmp_path / "README.md").read_text(encoding="utf-8")
    assert not (tmp_path / "results.csv").exists()


def test_a_study_without_trainings_takes_no_jobs(monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys, "argv", ["run.py", "--jobs", "2"])
    with pytest.raises(SystemExit, match="2"):
        run_study(__file__, lambda arguments: pytest.fail("was run"), "", quick="", trains=False)
    assert "unrecognized arguments: --jobs 2" in capsys.readouterr().err


def test_a_quick_study_leaves_the_results_alone(tmp_path) -> None:
    study = tmp_path / "experiments" / "memory"
    assert output_folder(study, None, quick=False) == study
    assert output_folder(study, None, quick=True) == tmp_path / "runs" / "studies" / "quick_memory"
    assert output_folder(study, tmp_path, quick=True) == tmp_path
