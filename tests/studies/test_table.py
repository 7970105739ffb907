"""A study's table, on the terminal and in its README."""

from pathlib import Path

import pytest

from unrolled.errors import UserError
from unrolled.studies.table import StudyTable, spread, write_between_marks

TABLE = StudyTable(["model", "accuracy"], [["lstm", "93.5"], ["gru", "8.0"]])


def test_figures_stand_to_the_right_and_names_to_the_left(capsys: pytest.CaptureFixture[str]) -> None:
    assert TABLE.markdown() == "| model | accuracy |\n| --- | ---: |\n| lstm | 93.5 |\n| gru | 8.0 |"
    TABLE.show()
    shown = capsys.readouterr().out
    assert "│ lstm  │     93.5 │" in shown
    assert "│ gru   │      8.0 │" in shown


def test_only_what_stands_between_the_marks_is_replaced(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- table -->\nold\n<!-- end of table -->\nafter\n", encoding="utf-8")
    write_between_marks(readme, "new")
    assert readme.read_text(encoding="utf-8") == ("before\n<!-- table -->\n\nnew\n\n<!-- end of table -->\nafter\n")
    write_between_marks(readme, "newer")
    assert "new\n" not in readme.read_text(encoding="utf-8")


def test_a_missing_readme_is_made_and_one_without_marks_is_left_alone(tmp_path: Path) -> None:
    write_between_marks(tmp_path / "README.md", "new")
    assert "new" in (tmp_path / "README.md").read_text(encoding="utf-8")
    other = tmp_path / "other.md"
    other.write_text("words <!-- end of table --> <!-- table -->", encoding="utf-8")
    with pytest.raises(UserError, match=r"other\.md has no line <!-- table --> with a line <!-- end of table -->"):
        write_between_marks(other, "new")
    assert other.read_text(encoding="utf-8") == "words <!-- end of table --> <!-- table -->"


def test_a_spread_is_the_mean_and_the_range() -> None:
    assert spread([1, 2, 6]) == "3.0 (1.0 to 6.0)"
    assert spread([0.125], digits=2) == "0.12 (0.12 to 0.12)"
