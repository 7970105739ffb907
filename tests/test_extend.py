"""A new cell, pooling, optimizer or callback is one class and one yaml, in any folder outside the package."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import QUICK
from tests.train.fresh_process import forked

CELL = '''
from unrolled.nn.cells import Cell, affine


class MinimalCell(Cell):
    """f = sigmoid(W_f x + U_f h + b_f);  n = tanh(W_n x + U_n (f * h) + b_n);  h' = (1 - f) * h + f * n"""

    gates = 2

    def step(self, x, state, w):
        (h,) = state
        f_x, n_x = x.chunk(2, dim=-1)
        U_f, U_n = w["U"].chunk(2, dim=-1)
        f = affine(f_x, h, U_f).sigmoid()
        n = affine(n_x, f * h, U_n).tanh()
        return ((1 - f) * h + f * n,)
'''

POOLING = '''
import torch

from unrolled.nn.pooling import Pooling


class First(Pooling):
    """The output at a document's first token."""

    def __init__(self, width, scale=1.0):
        super().__init__(width)
        self.scale = scale

    def initial(self, rows, device):
        return torch.zeros(rows, self.width, device=device), torch.zeros(rows, 1, device=device)

    def update(self, pooled, outputs, lengths, full=False):
        first, count = pooled
        return torch.where(count == 0, outputs[0].float(), first), count + lengths.unsqueeze(1)

    def value(self, pooled):
        return self.scale * pooled[0]
'''

OPTIMIZER = '''
import torch


class SignDescent(torch.optim.Optimizer):
    """w <- w - lr * sign(gradient)"""

    def __init__(self, params, lr: float = 0.01):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    weight.add_(weight.grad.sign(), alpha=-group["lr"])
        return loss
'''

CALLBACK = '''
from pathlib import Path

import pytorch_lightning as pl


class CountBatches(pl.Callback):
    """Writes how many batches were trained on."""

    def __init__(self, file: str, every: int = 1):
        self.file, self.batches, self.every = file, 0, every

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.batches += 1

    def on_train_end(self, trainer, pl_module):
        Path(self.file).write_text(str(self.batches // self.every))
'''

SMALL = (
    *(q for q in QUICK if not q.startswith(("data.limit", "trainer", "optimizer"))),
    *("data.limit=100", "trainer.max_epochs=1", "optimizer.lr=0.01", "logger=null"),
)


@pytest.fixture(autouse=True)
def _importable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)


def extended(folder: Path, code: str, group: str, yaml: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run train.py with a class in ``folder``/mine.py and a yaml in ``folder``/conf/``group``/mine.yaml."""
    (folder / "conf" / group).mkdir(parents=True)
    (folder / "mine.py").write_text(code)
    (folder / "conf" / group / "mine.yaml").write_text(yaml)
    given = dict(argument.split("=", 1) for argument in (*SMALL, "model=gru", *arguments))
    overrides = [f"{key}={value}" for key, value in given.items()]
    return forked("train.py", "--config-dir", str(folder / "conf"), *overrides, f"output_dir={folder / 'runs'}")


def result(folder: Path, done: "subprocess.CompletedProcess[str]") -> dict[str, Any]:
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(next((folder / "runs").rglob("results.json")).read_text())
    assert found["status"] == "ok"
    return found


def test_a_cell(tmp_path: Path) -> None:
    yaml = "defaults:\n  - mgu\n  - _self_\n\ncell: mine.MinimalCell\n"
    layers = ("model.num_layers=2", "model.bidirectional=true", "model.shortcut=false")
    done = extended(tmp_path, CELL, "model", yaml, "model=mine", *layers)
    found = result(tmp_path, done)
    E, H = 32, 32
    first, second = 2 * H * (E + H + 2), 2 * H * (2 * H + H + 2)  # W, U and two biases of two gates
    assert found["parameters"]["encoder"] == 2 * (first + second)
    assert found["model"] == "mine"


def test_a_pooling(tmp_path: Path) -> None:
    yaml = "_target_: mine.First\nscale: 2.0\ndropout: 0.0\n"
    done = extended(tmp_path, POOLING, "pooling", yaml, "pooling=mine", "pooling.scale=3", "model.shortcut=false")
    found = result(tmp_path, done)
    assert found["config"]["pooling"] == {"_target_": "mine.First", "scale": 3, "dropout": 0.0}
    assert found["parameters"]["head"] == 32 * 8 + 8


def test_an_optimizer(tmp_path: Path) -> None:
    yaml = "_target_: mine.SignDescent\n_partial_: true\nlr: 0.01\n"
    done = extended(tmp_path, OPTIMIZER, "optimizer", yaml, "optimizer=mine", "scheduler=cosine")
    assert result(tmp_path, done)["config"]["optimizer"]["_target_"] == "mine.SignDescent"


def test_a_callback(tmp_path: Path) -> None:
    file = tmp_path / "batches.txt"
    yaml = f"defaults:\n  - default\n  - _self_\n\ncount:\n  _target_: mine.CountBatches\n  file: {file}\n  every: 1\n"
    done = extended(tmp_path, CALLBACK, "callbacks", yaml, "callbacks=mine")
    assert int(file.read_text()) == result(tmp_path, done)["history"][-1]["step"] > 0


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("optimizer.lr=fast", "optimizer.lr=fast: must be a number"),
        ("+optimizer.momentum=0.9", "optimizer.momentum: there is no such key; did you mean optimizer.lr?"),
        ("optimizer.rl=1", "optimizer.rl: there is no such key; did you mean optimizer.lr?"),
    ],
)
def test_its_keys_are_checked_like_any_others(tmp_path: Path, override: str, said: str) -> None:
    yaml = "_target_: mine.SignDescent\n_partial_: true\nlr: 0.01\n"
    done = extended(tmp_path, OPTIMIZER, "optimizer", yaml, "optimizer=mine", override)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {said}"[:60])
