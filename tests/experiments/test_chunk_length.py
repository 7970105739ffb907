"""The study of chunk lengths runs from end to end, and its table says what its runs did."""

import json
from pathlib import Path

from tests.experiments.script import STUDIES, load
from tests.train.fresh_process import forked


def test_one_command_trains_all_and_writes_its_table_and_plot(tmp_path: Path) -> None:
    folders = ["--runs", str(tmp_path / "runs"), "--output", str(tmp_path / "output")]
    run = forked(str(STUDIES / "chunk_length" / "run.py"), "--quick", "--jobs", "2", *folders)
    assert run.returncode == 0, run.stdout + run.stderr
    rows = json.loads((tmp_path / "output" / "results.json").read_text(encoding="utf-8"))["rows"]
    assert [row["chunk_len"] for row in rows] == [16, None]
    for row in rows:
        (record,) = (tmp_path / "runs").glob(f"*chunk_{row['chunk_len'] or 'full'}_s0-*/results.json")
        result = json.loads(record.read_text(encoding="utf-8"))
        assert result["metrics"]["test/accuracy"] == row["test_accuracy"]
        assert 0 < row["training_cpu_s"] == result["history"][-1]["cpu_seconds"]
    text = (tmp_path / "output" / "README.md").read_text(encoding="utf-8")
    assert "| reuters_r8 | concat | full |" in text
    assert (tmp_path / "output" / "chunk_length.png").stat().st_size > 1_000


def test_a_line_is_over_its_seeds_and_compared_with_full() -> None:
    study = load("chunk_length")
    rows = [
        study.Row("r8", "last", chunk_len, seed, accuracy, 0.5, 9.0, seconds, 400.0 + seed)
        for chunk_len, seconds in ((16, 3.0), (None, 4.0))
        for seed, accuracy in ((0, 0.8), (1, 0.9), (2, 0.91))
    ]
    assert study.table(rows).lines == [
        ["r8", "last", "16", "87.0 (80.0 to 91.0)", "50.0 (50.0 to 50.0)", "3", "0.75", "401"],
        ["r8", "last", "full", "87.0 (80.0 to 91.0)", "50.0 (50.0 to 50.0)", "4", "1.00", "401"],
    ]
    assert len(study.plot(rows).axes) == 3


def test_the_study_goes_from_chunks_of_16_tokens_to_whole_documents_with_three_seeds() -> None:
    sizes = load("chunk_length").Sizes()
    assert sizes.chunk_lens[0] == 16
    assert sizes.chunk_lens[-1] is None
    assert len(sizes.seeds) == 3
    assert {data for data, _, _ in sizes.corpora} == {"reuters_r8", "newsgroups"}
