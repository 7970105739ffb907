"""Killed, told to stop, with a damaged checkpoint: a run goes on and ends as if nothing had happened."""

import json
import os
import random
import shlex
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tests.train.fresh_process import finish_training, start_training

from unrolled.errors import UserError
from unrolled.train.callbacks.history import CLOCKS
from unrolled.train.callbacks.hparams import SPEED
from unrolled.train.results import RunResult
from unrolled.train.resume import exclusive_access, restore_settings, resumed_arguments
from unrolled.train.resume_files import elapsed_seconds, resume_points

TINY = (
    "data=book_excerpts",
    "data.max_tokens=60",
    "threads=1",
    "embedding.embedding_dim=5",
    "embedding.dropout=0.2",
    "model=lstm",
    "model.hidden_size=7",
    "model.weight_dropout=0.1",
    "tbptt.chunk_len=20",
    "tbptt.batch_size=16",
    "checkpoint.every_n_steps=1",
    "trainer.log_every_n_steps=2",
)


def steps_done(folder: Path) -> int:
    return max((int(path.stem.removeprefix("step-")) for path in folder.rglob("step-*.ckpt")), default=0)


def wait_until(condition: Any, process: Any) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert process.is_alive(), "the run has ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.005)


def outcome(directory: Path) -> dict[str, Any]:
    """All that must be the same; times are not."""
    results = json.loads((directory / "results.json").read_text())
    events = EventAccumulator(str(directory), size_guidance={"scalars": 0})
    events.Reload()
    curves = {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    return {
        "status": results["status"],
        "metrics": results["metrics"],
        "history": [{key: value for key, value in row.items() if key not in CLOCKS} for row in results["history"]],
        "predictions": (directory / "predictions.csv").read_text(),
        "curves": {
            tag: points
            for tag, points in curves.items()
            if not tag.startswith("speed/") and tag.removeprefix("final/") not in SPEED
        },
        "checkpoints": sorted(path.name for path in (directory / "checkpoints").iterdir()),
    }


def weights(directory: Path, name: str) -> dict[str, torch.Tensor]:
    return torch.load(directory / "checkpoints" / name, weights_only=True)["state_dict"]


@pytest.mark.parametrize(
    ("schedule", "epochs", "signals"),
    [
        ("stream", 2, [signal.SIGKILL, signal.SIGTERM, signal.SIGKILL]),
        ("documents", 3, [signal.SIGUSR1]),
    ],
)
def test_a_run_killed_again_and_again_ends_as_one_that_was_not(tmp_path, schedule, epochs, signals) -> None:
    """Kill -9 soon after the start, then a signal after a few steps each time, then the newest checkpoint damaged."""
    rng = random.Random(time.time_ns())
    arguments = [*TINY, f"tbptt.schedule={schedule}", f"trainer.max_epochs={epochs}"]
    assert finish_training([*arguments, f"output_dir={tmp_path / 'whole'}"], tmp_path / "whole.txt") == 0
    (whole,) = (path.parent for path in (tmp_path / "whole").rglob("results.json"))

    runs, output = tmp_path / "killed", tmp_path / "killed.txt"
    process = start_training([*arguments, f"output_dir={runs}"], output)
    wait_until(lambda: (runs / "latest").is_file(), process)
    time.sleep(rng.uniform(0, 0.3))
    process.kill()
    process.join()
    (killed,) = (path.parent for path in runs.rglob("results.json"))
    for number in signals:
        process = start_training([f"resume={runs / 'latest'}"], output)
        enough = steps_done(killed) + rng.randint(1, 5)
        wait_until(lambda enough=enough: steps_done(killed) >= enough, process)
        time.sleep(rng.uniform(0, 0.03))
        assert process.pid is not None
        os.kill(process.pid, number)
        process.join(60)
        hard = number == signal.SIGKILL
        assert process.exitcode == (-number if hard else 128 + number), output.read_text()
        status = json.loads((killed / "results.json").read_text())["status"]
        assert status == ("running" if hard else "interrupted")
    newest = resume_points(killed / "checkpoints")[0]
    newest.write_bytes(newest.read_bytes()[: rng.randrange(newest.stat().st_size)])
    assert finish_training([f"resume={killed}", f"tbptt.schedule={schedule}"], output) == 0, output.read_text()

    assert f"{newest.name} is damaged" in output.read_text()
    expected, found = outcome(whole), outcome(killed)
    for part in expected:
        assert found[part] == expected[part], part
    assert found["checkpoints"] == ["best.ckpt", "last.ckpt"]
    for name in found["checkpoints"]:
        for key, value in weights(whole, name).items():
            assert torch.equal(weights(killed, name)[key], value), f"{key} in {name}"
    assert len(json.loads((killed / "results.json").read_text())["resumed"]) == len(signals) + 1


def make_run(directory: Path, **fields: Any) -> RunResult:
    """A run as one that was killed leaves it, started with two overrides."""
    config = {"seed": 3, "model": {"hidden_size": 7, "proj_size": None}, "data": {"limit": 5}}
    (directory / ".hydra").mkdir(parents=True)
    (directory / ".hydra" / "overrides.yaml").write_text("- seed=3\n- model=gru\n- +extra.key='a b'\n")
    choices = "hydra:\n  runtime:\n    choices: {model: gru, data: tweets}\n"
    (directory / ".hydra" / "hydra.yaml").write_text(choices)
    run = RunResult(name="killed", directory=directory, config=config, **fields)
    run.write()
    return run


def test_a_run_goes_on_with_the_arguments_that_started_it(tmp_path) -> None:
    make_run(tmp_path / "it's here")
    there = f"'{tmp_path}/it\\'s here'"
    given = ["resume=" + there, "seed=3", "model=gru", "data=tweets", "model.hidden_size=7", "hydra.verbose=true"]
    saved = ["seed=3", "model=gru", "+extra.key='a b'"]
    ours = ["hydra.verbose=true", f"resume={there}", f"hydra.run.dir={there}", "hydra.output_subdir=null"]
    assert resumed_arguments(given) == [*saved, *ours]
    assert resumed_arguments(["model=gru", "-m", "resume=null"]) == ["model=gru", "-m", "resume=null"]


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("seed=4", "seed=4: .* where seed=3"),
        ("model=lstm", "model=lstm: .* where model=gru"),
        ("model.proj_size=2", "where model.proj_size=null"),
        ("+other=1", "where other=not set"),
        ("~model", "leave model out"),
        ("-m", "leave out -m"),
    ],
)
def test_an_argument_that_contradicts_the_run_is_refused(tmp_path, argument, message) -> None:
    make_run(tmp_path / "run")
    with pytest.raises(UserError, match=message):
        resumed_arguments([f"resume={tmp_path / 'run'}", argument])


def test_more_epochs_of_a_finished_run_are_a_new_run_with_its_settings(tmp_path) -> None:
    make_run(tmp_path / "run", status="ok")
    with pytest.raises(UserError, match=r"seed=4: .*run is finished, where seed=3") as refused:
        resumed_arguments([f"resume={tmp_path / 'run'}", "seed=4"])
    command = shlex.split(str(refused.value).rpartition(" is ")[2])
    assert command == ["python", "train.py", "model=gru", "+extra.key='a b'", "seed=4"]
    with pytest.raises(UserError, match=r"train\.py seed=3 model=gru \+extra\.key=b$"):
        resumed_arguments([f"resume={tmp_path / 'run'}", "+extra.key=b"])


def test_what_is_not_a_run_cannot_be_resumed(tmp_path) -> None:
    with pytest.raises(UserError, match="is not a run"):
        resumed_arguments([f"resume={tmp_path}"])
    make_run(tmp_path / "run")
    (tmp_path / "run" / ".hydra" / "overrides.yaml").unlink()
    with pytest.raises(UserError, match="start it again"):
        resumed_arguments([f"resume={tmp_path / 'run'}"])


def test_the_settings_are_those_of_the_run_whatever_conf_says_today(tmp_path, compose_config) -> None:
    config = compose_config("seed=3", "model.hidden_size=7")
    saved = OmegaConf.to_container(compose_config("seed=3", "model.hidden_size=90", "optimizer=sgd", "name=x"))
    run = RunResult(name="x", config=saved | {"choices": {"model": "lstmp"}})
    restore_settings(config, run)
    assert config.model.hidden_size == 90
    assert config.optimizer == saved["optimizer"], "and no key of adam is left"
    assert config.choices == {"model": "lstmp"}
    with pytest.raises(UserError, match="another version"):
        restore_settings(config, RunResult(name="x", config={"tbptt": {"chunk_length": 3}}))


def test_a_run_at_work_is_left_alone(tmp_path) -> None:
    with (
        exclusive_access(tmp_path / "run"),
        pytest.raises(UserError, match="another process is at work"),
        exclusive_access(tmp_path / "run"),
    ):
        pass
    with exclusive_access(tmp_path / "run"):
        pass


def test_the_time_of_a_killed_session_counts_to_its_last_checkpoint(tmp_path) -> None:
    run = make_run(tmp_path, status="running", started="2024-05-01T10:00:00+00:00", wall_time_s=5.0)
    assert elapsed_seconds(run) == 5.0
    (tmp_path / "checkpoints").mkdir()
    point = tmp_path / "checkpoints" / "step-00000007.ckpt"
    point.touch()
    os.utime(point, (1714557640, 1714557640))  # 40 seconds after ten
    assert elapsed_seconds(run) == 45.0
    run.resumed = ["2024-05-01T10:00:30+00:00"]
    assert elapsed_seconds(run) == 15.0
    run.status = "interrupted"
    assert elapsed_seconds(run) == 5.0
