"""`logger=tensorboard`, `csv` and `null`: where curves go, and that a run does not need them."""

import csv
import json
from pathlib import Path

import pytest
from tests.conftest import QUICK, program
from tests.train.fresh_process import forked

SMALL = (*QUICK, "data.limit=200", "trainer.max_epochs=2", "trainer.limit_train_batches=3", "model=gru")


def trained(runs: Path, *arguments: str) -> Path:
    given = dict(argument.split("=", 1) for argument in (*SMALL, *arguments))
    overrides = [f"{key}={value}" for key, value in given.items()]
    done = forked("train.py", *overrides, f"output_dir={runs}")
    assert done.returncode == 0, done.stderr
    return next(runs.rglob("results.json")).parent


def test_csv_writes_the_curves_into_the_run(tmp_path: Path) -> None:
    run = trained(tmp_path, "logger=csv")
    assert not list(run.rglob("events*"))
    with (run / "csv" / "version_0" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    accuracies = [float(row["val/accuracy"]) for row in rows if row["val/accuracy"]]
    history = json.loads((run / "results.json").read_text())["history"]
    assert accuracies == pytest.approx([epoch["val/accuracy"] for epoch in history])
    assert len(history) == 2
    assert history[-1]["step"] == 6, "three batches of an epoch"


def test_without_a_logger_the_record_is_the_same(tmp_path: Path) -> None:
    run, with_curves = trained(tmp_path / "none", "logger=null"), trained(tmp_path / "tensorboard")
    assert not [*run.rglob("events*"), *run.rglob("metrics.csv")]
    assert list(with_curves.glob("events*"))
    metrics = [json.loads((each / "results.json").read_text())["metrics"] for each in (run, with_curves)]
    assert metrics[0] == metrics[1]
    assert (run / "predictions.csv").read_text() == (with_curves / "predictions.csv").read_text()


def test_tensorboard_need_not_be_installed_where_it_is_not_chosen(tmp_path: Path) -> None:
    code = (
        "import runpy, sys\n"
        "for name in ('tensorboard', 'torch.utils.tensorboard'):\n"
        "    sys.modules[name] = None\n"  # Python's own way to say that a module cannot be imported
        f"sys.argv = ['train.py', *{[*SMALL, 'logger=csv', f'output_dir={tmp_path}']!r}]\n"
        "runpy.run_path('train.py', run_name='__main__')\n"
    )
    (tmp_path / "without.py").write_text(code)
    done = program(str(tmp_path / "without.py"))
    assert done.returncode == 0, done.stderr[-2000:]
