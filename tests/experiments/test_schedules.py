"""The study of schedules chooses each way's learning rate on validation and compares at equal tokens."""

import json
from pathlib import Path

from tests.experiments.script import STUDIES, load
from tests.train.fresh_process import forked


def test_one_command_chooses_repeats_and_writes(tmp_path: Path) -> None:
    folders = ["--runs", str(tmp_path / "runs"), "--output", str(tmp_path / "output")]
    run = forked(str(STUDIES / "schedules" / "run.py"), "--quick", "--jobs", "2", *folders)
    assert run.returncode == 0, run.stdout + run.stderr
    rows = json.loads((tmp_path / "output" / "results.json").read_text(encoding="utf-8"))["rows"]
    tried = {row["lr"]: row for row in rows if row["seed"] == 0}
    best = max(tried, key=lambda lr: tried[lr]["valid_accuracy"])
    assert {lr: row["chosen"] for lr, row in tried.items()} == {lr: lr == best for lr in (0.0001, 0.01)}
    assert [row["lr"] for row in rows if row["seed"] == 1] == [best], "only the best is repeated"
    text = (tmp_path / "output" / "README.md").read_text(encoding="utf-8")
    assert f"| reuters_r8 | stream, loss every | {best} |" in text
    assert (tmp_path / "output" / "schedules.png").stat().st_size > 1_000


def test_a_line_is_over_the_runs_at_the_chosen_rate_alone() -> None:
    study = load("schedules")

    def row(lr: float, seed: int, accuracy: float) -> object:
        curve, tokens = (0.5, accuracy), (1e6, 2e6)
        return study.Row("r8", "stream, loss every", lr, seed, lr > 0.1, accuracy, 0.5, curve, tokens, 70.0, 9.0, 400.0)

    rows = [row(0.2, 0, 0.8), row(0.2, 1, 0.9), row(0.1, 0, 0.3)]
    assert study.table(rows).lines == [
        ["r8", "stream, loss every", "0.2", "85.0 (80.0 to 90.0)", "50.0 (50.0 to 50.0)", "2.00", "70", "9", "400"]
    ]
    assert len(study.plot(rows).axes) == 1
