"""The truncation study's table and plot, from made-up rows."""

import json
from pathlib import Path
from types import ModuleType

import pytest
from tests.experiments.script import load


@pytest.fixture(scope="module")
def bias() -> ModuleType:
    return load("truncation_bias")


def test_every_model_pooling_and_moment_has_a_line(bias: ModuleType, tmp_path: Path) -> None:
    rows = [
        bias.Row(model, pooling, trained, chunk_len, 1 / chunk_len, 1 - 1 / chunk_len)
        for model in ("rnn", "lstm")
        for pooling in ("last", "concat")
        for trained in (0, 7)
        for chunk_len in (5, 20)
    ]
    table = bias.table(rows)
    assert table.header[3:] == ["chunk_len=5", "chunk_len=20"]
    assert len(table.lines) == 8
    assert table.lines[0] == ["rnn", "last", "as drawn", "0.200 (0.800)", "0.050 (0.950)"]
    bias.report(rows, bias.Sizes()).write(tmp_path)
    assert len(json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))["rows"]) == len(rows)
    assert "| lstm | concat | after 7 steps | 0.200 (0.800) | 0.050 (0.950) |" in (tmp_path / "README.md").read_text()
    assert (tmp_path / "bias.png").stat().st_size > 1_000
