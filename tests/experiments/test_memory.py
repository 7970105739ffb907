"""The memory study runs, writes what it shows, and notices memory that grows."""

import json
from pathlib import Path
from types import ModuleType

import pytest
from tests.experiments.script import load


@pytest.fixture(scope="module")
def memory() -> ModuleType:
    return load("memory")


def test_a_measurement_has_a_process_of_its_own(memory: ModuleType) -> None:
    row = memory.measured_apart(memory.BY_NAME["exact, recompute"], 200)
    assert (row.mode, row.length) == ("exact, recompute", 200)
    assert 100 < row.peak_mb < 3_000
    assert row.token_ids_mb == pytest.approx(200 * 10 / 2**20)


def test_table_and_plot_show_what_was_measured(memory: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("before\n<!-- table -->\nold\n<!-- end of table -->\nafter\n", encoding="utf-8")
    rows = [memory.Measured("stream", 10, 500.0, 0.0, 1.0), memory.Measured("stream", 1_000, 1234.0, 20.0, 1.0)]
    report = memory.report(rows, memory.time_ratio(2, 30, 1))
    report.write(tmp_path)
    assert len(json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))["rows"]) == 2
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert report.faults == ["stream: memory grows by 142.8 %"]
    assert "| stream | 500 | 1,234 | +142.8 % |" in text
    assert (tmp_path / "memory.png").stat().st_size > 1_000


def test_growth_is_counted_above_the_token_ids(memory: ModuleType) -> None:
    rows = [memory.Measured("stream", 10, 100.0, 0.0, 1.0), memory.Measured("stream", 1_000, 130.0, 20.0, 1.0)]
    assert memory.growth(rows, "stream") == pytest.approx(0.1)
