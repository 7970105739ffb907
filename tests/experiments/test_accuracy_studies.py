"""The studies of accuracy train every way with every seed, and compare it with the first."""

import json
from pathlib import Path

import pytest
from tests.experiments.script import STUDIES
from tests.train.fresh_process import forked

from unrolled.studies.accuracy import Row, table
from unrolled.studies.trainings import Training


def test_one_command_trains_compares_and_writes(tmp_path: Path) -> None:
    folders = ["--runs", str(tmp_path / "runs"), "--output", str(tmp_path / "output")]
    run = forked(str(STUDIES / "leaderboard" / "run.py"), "--quick", "--jobs", "2", *folders)
    assert run.returncode == 0, run.stdout + run.stderr
    first, second = json.loads((tmp_path / "output" / "results.json").read_text(encoding="utf-8"))["rows"]
    assert (first["way"], first["p"]) == ("gru", None)
    assert second["way"] == "rnn"
    assert 0 < second["p"] <= 1
    for row in (first, second):
        assert row["seeds"] == [1, 2]
        for name in ("test_accuracy", "valid_accuracy"):
            assert all(0 <= value <= 1 for value in row[name])
            assert len(row[name]) == 2
        assert row["epochs"] == [1, 1]
    assert first["parameters"] > second["parameters"]  # three gates against none
    assert "| book_excerpts | rnn |" in (tmp_path / "output" / "README.md").read_text(encoding="utf-8")


def test_the_table_has_means_and_ranges_of_errors() -> None:
    accuracies = (0.9, 0.8, 0.85)
    row = Row("r8", "gru", (1, 2, 3), accuracies, accuracies, accuracies, 0.0321, 1234, None, 61.0, (2, 2, 2))
    (line,) = table([row]).lines
    assert line == ["r8", "gru", "15.00 (10.00 to 20.00)", "85.00", "15.00", "1,234", "", "1:01", "0.032"]


@pytest.mark.parametrize(("overrides", "recipes"), [((), ["recipe=fixed"]), (("recipe=auto",), ["recipe=auto"])])
def test_studies_keep_to_the_fixed_recipe_unless_they_name_one(overrides, recipes) -> None:
    assert [each for each in Training("x", overrides).settings if each.startswith("recipe=")] == recipes
