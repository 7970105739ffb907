"""Runs of train.py for a study: each in a process of its own, none twice, one message where one fails."""

import json
import os
import signal
import time
from pathlib import Path

import pytest
from tests.train.fresh_process import start

from unrolled.errors import UserError
from unrolled.studies.trainings import Training, finished, train_all
from unrolled.train.results import load_result

TINY = (
    "data=recall",
    "data.train=60",
    "data.test=20",
    "data.classes=2",
    "data.length=12",
    "model=gru",
    "model.hidden_size=4",
    "embedding.embedding_dim=4",
    "trainer.max_epochs=1",
)


def test_runs_are_done_once_and_their_records_come_in_order_until_one_fails(tmp_path: Path) -> None:
    trainings = [Training(f"seed_{seed}", (*TINY, f"seed={seed}")) for seed in (1, 0)]
    said: list[str] = []
    results = train_all(trainings, tmp_path, jobs=2, say=said.append)
    assert [result.config["seed"] for result in results] == [1, 0]
    assert [result.name for result in results] == ["seed_1", "seed_0"]
    assert all(result.environment["threads"] == 1 for result in results)
    assert results[0].directory.parent == tmp_path
    assert len(said) == 2
    assert said[-1].startswith("2/2  seed_")
    written = [(result.directory / "results.json").stat().st_mtime_ns for result in results]

    bad = Training("seed_1", (*TINY, "data.length=2"))
    assert bad.directory(tmp_path) != results[0].directory, "the same name with other settings is another run"
    with pytest.raises(UserError, match=r"1 ended with status 2 and said: error: recall has only about 8 different"):
        train_all([*trainings, bad], tmp_path, say=said.append)
    assert said[2:] == ["already finished, not run again: 2 of 3 runs"]
    assert finished(bad.directory(tmp_path)) is None
    again = train_all(trainings, tmp_path, say=said.append)
    assert [(result.directory / "results.json").stat().st_mtime_ns for result in again] == written


def train_in_a_session(training: Training, folder: Path) -> None:
    os.setsid()
    train_all([training], folder)


def test_a_run_that_was_killed_goes_on_from_its_last_checkpoint(tmp_path: Path) -> None:
    training = Training("killed", (*TINY, "data.train=400", "trainer.max_epochs=12", "checkpoint.every_n_steps=4"))
    straight = train_all([training], tmp_path / "straight")[0]
    directory = training.directory(tmp_path / "killed")
    process = start(train_in_a_session, training, directory.parent)
    deadline = time.monotonic() + 120
    while len(list((directory / "checkpoints").glob("*.ckpt"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert process.pid is not None
    os.killpg(process.pid, signal.SIGKILL)  # the study and the run that it started
    process.join()
    record = json.loads((directory / "results.json").read_text(encoding="utf-8"))
    assert record["status"] != "ok", "killed before its end"
    resumed = train_all([training], directory.parent)[0]
    assert resumed.resumed, "it went on, it did not start anew"
    assert resumed.metrics == straight.metrics
    assert load_result(directory).status == "ok"
