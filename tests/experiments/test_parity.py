"""The parity study runs from end to end, and notices a recurrence that is not torch.nn's."""

import csv
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from tests.experiments.script import STUDIES, load
from tests.train.fresh_process import forked
from torch import nn

import unrolled

SCRIPT = STUDIES / "parity" / "run.py"


@pytest.fixture(scope="module")
def parity() -> ModuleType:
    return load("parity")


def test_one_command_compares_everything_and_writes_its_tables(tmp_path: Path) -> None:
    run = forked(str(SCRIPT), "--quick", "--output", str(tmp_path))
    assert run.returncode == 0, run.stdout + run.stderr
    assert "0 beyond" in run.stdout

    rows = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))["rows"]
    networks = {row["network"] for row in rows}
    assert {"RNN, tanh", "RNN, relu", "LSTM", "LSTMP", "GRU", "RNNCell", "LSTMCell", "GRUCell"} <= networks
    assert {"PerGateLSTMCell", "SingleMatrixLSTMCell", "NumPy LSTM", "NumPy RNN, identity"} <= networks
    for row in rows:
        assert max(row["values_float32"], row["gradients_float32"]) <= 1e-5, row
        assert max(row["values_float64"], row["gradients_float64"]) <= 1e-10, row
        if row["network"] != "SingleMatrixLSTMCell":
            assert row["parameters"] == row["parameters_of_reference"], row

    with (tmp_path / "results.csv").open(encoding="utf-8") as file:
        assert [line["option"] for line in csv.DictReader(file)] == [row["option"] for row in rows]
    table = (tmp_path / "README.md").read_text(encoding="utf-8").split("<!-- table -->")[1]
    assert sum(line.startswith("| ") for line in table.splitlines()) == len(rows) + 2


def test_writing_again_replaces_the_table_and_keeps_the_text(parity: ModuleType, tmp_path: Path) -> None:
    original = (SCRIPT.parent / "README.md").read_text(encoding="utf-8")
    (tmp_path / "README.md").write_text(original, encoding="utf-8")
    row = parity.Row("LSTM", "torch.nn.LSTM", "one layer", 7, 9, 1e-7, 2e-7, 3e-16, 0.0)
    parity.report([row], parity.Sizes()).write(tmp_path)
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert text.split("<!-- table -->")[0] == original.split("<!-- table -->")[0]
    assert "| LSTM | torch.nn.LSTM | one layer | 7 (9) | 1.0e-07 | 2.0e-07 | 3.0e-16 | 0 |" in text
    assert text.count("| LSTM |") == 1
    assert text.count("<!-- end of table -->") == 1


class GatesInAnotherOrder(unrolled.LSTM):
    """An LSTM that takes the output gate for the candidate."""

    def forward(self, input: Any, hx: Any = None) -> Any:
        swapped = {
            name: weight.reshape(4, -1)[[0, 1, 3, 2]].view_as(weight) for name, weight in self.named_parameters()
        }
        return torch.func.functional_call(unrolled.LSTM(4, 5), swapped, (input, hx))


class Loses(nn.RNN):
    """An RNN whose outputs are not numbers."""

    def forward(self, input: Any, hx: Any = None) -> Any:
        outputs, last = super().forward(input, hx)
        return outputs * float("nan"), last


def test_a_wrong_recurrence_is_reported(parity: ModuleType) -> None:
    sizes = parity.Sizes(T=6, B=3, E=4, H=5, P=2, draws=1)
    for wrong, right in ((GatesInAnotherOrder, nn.LSTM), (Loses, nn.RNN)):
        case = parity.Case(
            "wrong", "one layer", lambda wrong=wrong: wrong(4, 5), lambda right=right: right(4, 5), parity.dense
        )
        row = parity.compare(case, sizes)
        assert row.values_float64 > 1e-3
        assert row.gradients_float64 > 1e-3
        assert len(parity.too_far([row])) == 4
