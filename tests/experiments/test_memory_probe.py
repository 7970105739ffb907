"""The memory probe goes up in length until a way fails, and says how far each came."""

import json
from pathlib import Path

from tests.experiments.script import STUDIES, load
from tests.train.fresh_process import forked


def test_one_command_goes_up_until_it_fails_and_no_further(tmp_path: Path) -> None:
    """With 600 documents a GRU learns 20 tokens in one chunk; 70 are two chunks, and no gradient reaches the first."""
    folders = ["--runs", str(tmp_path / "runs"), "--output", str(tmp_path / "output")]
    run = forked(str(STUDIES / "memory_probe" / "run.py"), "--quick", *folders)
    assert run.returncode == 0, run.stdout + run.stderr
    rows = json.loads((tmp_path / "output" / "results.json").read_text(encoding="utf-8"))["rows"]
    assert [row["length"] for row in rows] == [20, 70], "90 is not tried"
    assert rows[0]["test_accuracy"] >= 0.95 > 0.65 > rows[1]["test_accuracy"]
    assert "| gru | **20** (70: " in (tmp_path / "output" / "README.md").read_text(encoding="utf-8")
    assert (tmp_path / "output" / "memory_probe.png").stat().st_size > 1_000


def test_the_reach_is_the_longest_length_that_any_seed_learned() -> None:
    study = load("memory_probe")
    rows = [
        study.Row("lstm", "exact", 50, 0, 0.5, 1.0, 1.0),
        study.Row("lstm", "exact", 50, 1, 0.99, 1.0, 1.0),
        study.Row("lstm", "exact", 1000, 0, 0.5, 1.0, 1.0),
        study.Row("lstm", "exact", 1000, 1, 0.61, 1.0, 1.0),
        study.Row("lstm", "carry off", 50, 0, 0.49, 1.0, 1.0),
    ]
    table = study.table(rows)
    assert table.header == ["model", "exact", "carry off"]
    assert table.lines == [["lstm", "**50** (1,000: 61 %)", "none (50: 49 %)"]]


def test_the_study_asks_what_it_promises() -> None:
    sizes = load("memory_probe").Sizes()
    assert (sizes.lengths[0], sizes.lengths[-1]) == (50, 2000)
    assert {"rnn", "gru", "lstm", "lstmp"} <= set(sizes.models)
    assert set(sizes.ways) == {"truncated", "exact", "stream, loss every", "carry off"}
