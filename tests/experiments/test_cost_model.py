"""The cost model finds costs that are known, counts what a layer computes, and runs from end to end."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.experiments.script import load
from torch.utils.flop_counter import FlopCounterMode

from unrolled.benchmarks.recurrences import modules_of
from unrolled.train.sweep import preserved_state

study = load("speed", "cost_model")


@pytest.mark.parametrize("kind", study.KINDS)
def test_known_costs_are_found(kind: str) -> None:
    costs = np.array([1e-11, 2e-11, 1e-9, 3e-7, 2e-9, 4e-4])
    measured = []
    for K, B, E, H in study.SIZES:
        one = study.Measured(K, study.shape_of(kind, B, E, H), 1.0)
        measured.append(study.Measured(K, one.shape, float(one.amounts @ costs)))
    np.testing.assert_allclose(study.fit(measured), costs, rtol=1e-3)
    assert study.row(measured[-3], costs, True)["limit"] == "call"  # 2 steps of 4 rows
    assert abs(study.row(measured[0], costs, True)["error"]) < 1e-9


@pytest.mark.parametrize("kind", study.KINDS)
def test_operations_are_those_that_torch_counts(kind: str) -> None:
    shape = study.shape_of(kind, 3, 5, 8)
    eager = modules_of(shape)["eager"]
    x = torch.randn(7, 3, 5, requires_grad=True)
    state = tuple(torch.randn(1, 3, size, requires_grad=True) for size in (shape.P or 8, 8))
    with FlopCounterMode(display=False) as counted:
        outputs, _ = eager(x, state if shape.kind == "LSTM" else state[0])
        outputs.sum().backward()
    amounts = study.Measured(7, shape, 1.0).amounts
    assert amounts[:2].sum() == counted.get_total_flops()
    assert amounts[4] == sum(weight.numel() for weight in eager.parameters() if weight.dim() == 2)


def test_one_command_writes_its_numbers_and_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["cost_model.py", "--rounds", "1", "--output", str(tmp_path)])
    for name in ("SIZES", "UNSEEN"):  # small ones, as they cost time
        monkeypatch.setattr(study, name, [(K // 10 + 1, B, 8, 4) for K, B, _, _ in getattr(study, name)[:7]])
    with preserved_state():
        study.main()
    cells = json.loads((tmp_path / "cost_model.json").read_text())["cells"]
    assert list(cells) == list(study.KINDS)
    for cell in cells.values():
        assert min(cell["costs"]) >= 0
        for each in cell["shapes"]:
            assert sum(each["shares"].values()) == pytest.approx(1)
            assert each["predicted"] == pytest.approx(each["milliseconds"] * (1 + each["error"]))
    assert (tmp_path / "README.md").read_text().count(" (unseen) |") == len(study.UNSEEN) * len(study.KINDS)
