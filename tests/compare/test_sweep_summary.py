import io
import json
import sys

import pytest
from omegaconf import OmegaConf
from rich.console import Console

from unrolled.compare.sweep_summary import SweepSummary, print_summary, read_notes


def test_the_summary_has_every_job(record, tmp_path) -> None:
    notes = [
        {"overrides": ["model=lstm"], "run": str(record("lstm").directory), "error": None},
        {"overrides": ["model=gru"], "run": str(record("gru").directory), "error": None, "skipped": True},
        {"overrides": ["model=rnn"], "run": str(tmp_path / "none"), "error": "model.dropout=2: a share"},
    ]
    (tmp_path / "sweep" / "jobs").mkdir(parents=True)
    for number, note in zip((10, 9, 2), notes, strict=True):
        (tmp_path / "sweep" / "jobs" / f"{number}.json").write_text(json.dumps(note))
    read = read_notes(tmp_path / "sweep")
    assert [note["number"] for note in read] == [2, 9, 10]
    out = io.StringIO()
    assert print_summary(read, Console(file=out, width=200)) == 1
    text = out.getvalue()
    assert "3 jobs: 1 finished now, 1 already finished, 1 failed" in text
    assert "job 2 (model=rnn): model.dropout=2: a share" in text
    assert "lstm" in text
    assert "gru" in text


def test_an_error_that_several_jobs_had_is_said_once_and_there_is_no_table_of_failures(record) -> None:
    failed = str(record(error="x").directory)
    notes = [{"overrides": [f"seed={i}"], "run": failed, "error": f"error {i // 2}", "number": i} for i in range(3)]
    out = io.StringIO()
    assert print_summary(notes, Console(file=out, width=200)) == 3
    assert out.getvalue().startswith("\n\n3 jobs: 0 finished now, 3 failed\n")
    assert "  jobs 0, 1: error 0\n  job 2 (seed=2): error 1\n" in out.getvalue()


@pytest.mark.parametrize(
    ("part", "plugin", "choice", "extra"),
    [
        ("launcher", "hydra_joblib_launcher.joblib_launcher.JoblibLauncher", "joblib", "parallel"),
        ("launcher", "hydra_submitit_launcher.submitit_launcher.SlurmLauncher", "slurm", "cluster"),
        ("sweeper", "hydra_optuna_sweeper.optuna_sweeper.OptunaSweeper", "search", "search"),
    ],
)
def test_a_plugin_that_is_not_installed_is_one_sentence(monkeypatch, capsys, part, plugin, choice, extra) -> None:
    chosen = {"launcher": {"_target_": "a.b.C"}, "sweeper": {"_target_": "a.b.C"}}
    chosen[part] = {"_target_": f"hydra_plugins.{plugin}"}
    config = OmegaConf.create({"hydra": {**chosen, "runtime": {"choices": {f"hydra/{part}": choice}}}})
    SweepSummary().on_multirun_start(config)
    monkeypatch.setitem(sys.modules, f"hydra_plugins.{plugin.rpartition('.')[0]}", None)  # as where it is missing
    with pytest.raises(SystemExit, match="2"):
        SweepSummary().on_multirun_start(config)
    assert f"error: hydra/{part}={choice} needs a package that is not installed" in (error := capsys.readouterr().err)
    assert f"pip install -e '.[{extra}]'" in error
