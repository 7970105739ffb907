import io
import json
import os

import pytest
import torch
from rich.console import Console
from tests.conftest import QUICK, program

from unrolled.runs.environment import describe_environment
from unrolled.runs.results import find_runs, load_result
from unrolled.runs.sweep import finished_run, jobs_at_once, preserved_state, print_summary, read_notes, skip_finished


def test_a_finished_run_is_found_by_its_configuration(record, tmp_path) -> None:
    done, failed = record("lstm", 0), record("lstm", 1, error="x")
    assert finished_run(tmp_path, done.config).directory == done.directory
    assert finished_run(tmp_path, failed.config) is None
    assert finished_run(tmp_path, done.config | {"seed": 7}) is None
    assert finished_run(tmp_path, done.config | {"name": "other"}).directory == done.directory
    assert finished_run(tmp_path / "nothing", done.config) is None


def test_a_skipped_job_says_which_run_has_its_results(record, tmp_path) -> None:
    done = record("lstm", 0)
    found = skip_finished(tmp_path, done.config, tmp_path / "job")
    assert found is not None
    assert load_result((tmp_path / "job" / "same_as.txt").read_text().strip()).config_hash == done.config_hash


def test_what_a_job_sets_for_the_process_is_put_back(monkeypatch) -> None:
    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)
    before = torch.get_num_threads(), torch.get_float32_matmul_precision()

    def job() -> None:
        with preserved_state():
            torch.set_num_threads(before[0] + 1)
            torch.set_float32_matmul_precision("medium")
            torch.use_deterministic_algorithms(True)
            monkeypatch.setenv("PL_GLOBAL_SEED", "3")
            raise RuntimeError("even then")

    with pytest.raises(RuntimeError):
        job()
    assert (torch.get_num_threads(), torch.get_float32_matmul_precision()) == before
    assert not torch.are_deterministic_algorithms_enabled()
    assert "PL_GLOBAL_SEED" not in os.environ


def test_jobs_side_by_side_share_the_cores(monkeypatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    before = torch.get_num_threads()
    with preserved_state(jobs=4):
        assert torch.get_num_threads() == 2
        assert describe_environment()["timed_in_parallel"]
    assert torch.get_num_threads() == before
    assert not describe_environment()["timed_in_parallel"]


@pytest.mark.parametrize(
    ("launcher", "jobs"),
    [
        ({"_target_": "hydra._internal.core_plugins.basic_launcher.BasicLauncher"}, 1),
        ({"_target_": "hydra_plugins.a.JoblibLauncher", "n_jobs": 3}, 3),
        ({"_target_": "hydra_plugins.a.JoblibLauncher", "n_jobs": -1}, 8),
        ({"_target_": "hydra_plugins.a.LocalLauncher"}, 8),
        ({"_target_": "hydra_plugins.a.SlurmLauncher"}, 1),
    ],
)
def test_launchers_tell_how_many_jobs_share_the_machine(monkeypatch, launcher, jobs) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    assert jobs_at_once(launcher) == jobs


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
    assert "3 jobs: 1 done now, 1 finished before and not done again, 1 failed" in text
    assert "job 2 (model=rnn): model.dropout=2: a share" in text
    assert "lstm" in text
    assert "gru" in text


def test_a_sweep_goes_on_after_a_failure_and_does_not_repeat_what_is_done(tmp_path) -> None:
    """Of three jobs one cannot work; the second time only that one is tried, and the others are in the table again."""
    command = ["train.py", "-m", *QUICK, "data.limit=100", "trainer.max_epochs=1", f"output_dir={tmp_path}"]
    command += ["model=lstmp", "model.proj_size=16,99,8"]
    first = program(*command)
    assert first.returncode == 1, first.stderr
    assert "3 jobs: 2 done now, 1 failed" in first.stdout
    assert "model.proj_size=99: must be smaller than model.hidden_size=32" in first.stdout
    assert "Traceback" not in first.stdout + first.stderr
    done = find_runs([tmp_path])
    assert [run.status for run in done] == ["ok", "ok"]
    second = program(*command)
    assert second.returncode == 1
    assert "3 jobs: 0 done now, 2 finished before and not done again, 1 failed" in second.stdout
    assert [run.directory for run in find_runs([tmp_path])] == [run.directory for run in done]
    assert load_result(tmp_path / "latest").directory == done[-1].directory
