import os

import pytest
import torch
from omegaconf import OmegaConf
from tests.conftest import QUICK, program
from tests.train.fresh_process import forked

from unrolled.compare.sweep_summary import read_notes
from unrolled.train.environment import describe_environment
from unrolled.train.results import find_runs, load_result
from unrolled.train.sweep import (
    jobs_at_once,
    preserved_state,
    skip_finished,
)

TINY = (*QUICK, "data.limit=100", "trainer.max_epochs=1", "model=lstmp")
FAILING = "model.proj_size=99: must be smaller than hidden_size=32"


def test_a_finished_run_is_found_by_its_configuration(record, tmp_path) -> None:
    done, failed = record("lstm", 0), record("lstm", 1, error="x")
    job = tmp_path / "job"
    for config in (failed.config, done.config | {"seed": 7}):
        assert skip_finished(tmp_path, config, job) is None
    assert skip_finished(tmp_path / "nothing", done.config, job) is None
    assert not job.exists()
    assert skip_finished(tmp_path, done.config | {"name": "other"}, job).directory == done.directory


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


def test_a_sweep_goes_on_after_a_failure_and_does_not_repeat_what_is_done(tmp_path) -> None:
    """Of three jobs one cannot work; the second time only that one is tried, and the others are in the table again."""
    command = ["train.py", "-m", *QUICK, "data.limit=100", "trainer.max_epochs=1", f"output_dir={tmp_path}"]
    command += ["model=lstmp", "model.proj_size=16,99,8"]
    first = forked(*command)
    assert first.returncode == 1, first.stderr
    assert "3 jobs: 2 finished now, 1 failed" in first.stdout
    assert FAILING in first.stdout
    assert "Traceback" not in first.stdout + first.stderr
    done = find_runs([tmp_path])
    assert [run.status for run in done] == ["ok", "ok"]
    second = forked(*command)
    assert second.returncode == 1
    assert "3 jobs: 0 finished now, 2 already finished, 1 failed" in second.stdout
    assert [run.directory for run in find_runs([tmp_path])] == [run.directory for run in done]
    assert load_result(tmp_path / "latest").directory == done[-1].directory


def test_jobs_run_side_by_side_with_joblib(tmp_path) -> None:
    """Two at a time, each with its share of the cores; the one that cannot work does not disturb the others."""
    (tmp_path / "met").mkdir()
    command = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "threads=null", "model.proj_size=16,99,8"]
    command += [
        "+hydra.callbacks.met._target_=tests.train.rendezvous.Rendezvous",
        f"+hydra.callbacks.met.directory={tmp_path / 'met'}",
    ]
    done = program("train.py", "-m", *TINY, *command, f"output_dir={tmp_path / 'runs'}")
    assert done.returncode == 1, done.stderr
    assert "3 jobs: 2 finished now, 1 failed" in done.stdout
    assert FAILING in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert {path.name for path in (tmp_path / "met").glob("*.met")} == {"0.met", "1.met", "2.met"}
    runs = find_runs([tmp_path / "runs"])
    assert [run.status for run in runs] == ["ok", "ok"]
    for run in runs:
        assert run.environment["timed_in_parallel"]
        assert run.environment["threads"] == max(1, (os.cpu_count() or 1) // 2)
    assert "in parallel: 2 rows" in done.stdout


def test_submitit_runs_a_sweep_in_a_process_of_its_own(tmp_path) -> None:
    command = ["hydra/launcher=submitit_local", "model.proj_size=16", f"output_dir={tmp_path}"]
    done = forked("train.py", "-m", *TINY, *command)
    assert done.returncode == 0, done.stderr
    assert "1 job: 1 finished now" in done.stdout
    (run,) = find_runs([tmp_path])
    assert run.status == "ok"
    assert run.config["model"]["proj_size"] == 16
    assert run.environment["timed_in_parallel"] == ((os.cpu_count() or 1) > 1)
    assert list((tmp_path / "sweeps").glob("*/.submitit/*/*_submitted.pkl"))


def test_a_search_goes_on_after_a_failing_trial_and_improves_the_validation_accuracy(tmp_path) -> None:
    tiny = [pair for pair in TINY if not pair.startswith("optimizer.lr=")]  # what the search is for
    command = ["sweep=lr", "hydra.sweeper.n_trials=3", "model.proj_size=choice(16,99)", f"output_dir={tmp_path}"]
    done = forked("train.py", "-m", *tiny, *command)
    assert done.returncode == 1, done.stderr
    (sweep,) = (tmp_path / "sweeps").iterdir()
    failed = [note["error"] is not None for note in read_notes(sweep)]
    assert len(failed) == 3
    assert True in failed[:-1]  # there was a trial after a failing one
    assert False in failed
    assert FAILING in done.stdout
    runs = find_runs([tmp_path])
    rates = [run.config["optimizer"]["lr"] for run in runs]
    assert len(set(rates)) == len(runs) == failed.count(False)
    assert all(0.0003 <= rate <= 0.03 for rate in rates)
    found = OmegaConf.load(sweep / "optimization_results.yaml")
    best = max(runs, key=lambda run: run.metrics["val/accuracy"])
    assert found.best_value == best.metrics["val/accuracy"]
    chosen = {run.config["optimizer"]["lr"] for run in runs if run.metrics["val/accuracy"] == found.best_value}
    assert found.best_params["optimizer.lr"] in chosen
