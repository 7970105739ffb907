import math
import os
import signal
from pathlib import Path

import numpy as np
import pytest

from unrolled.errors import RefusedDataError, UserError
from unrolled.train.record import recorded_run
from unrolled.train.results import find_runs, load_result

CONFIG = {"seed": 3, "name": "a", "model": {"hidden_size": 5, "layers": [1, 2]}, "tbptt": {"chunk_len": None}}


def run_in(tmp_path: Path, name: str = "lstm", time: str = "1") -> Path:
    return tmp_path / "runs" / name / time


def test_a_run_that_ends_well_is_recorded(tmp_path) -> None:
    directory = run_in(tmp_path)
    with recorded_run(directory, CONFIG, name="lstm on tweets", model="lstm") as result:
        assert load_result(directory).status == "running"
        result.metrics = {"test/accuracy": np.float32(0.5), "test/loss": math.nan}
        result.parameters = {"total": 200}
        result.best_checkpoint = result.relative(directory / "checkpoints" / "best.ckpt")
    read = load_result(directory)
    assert read.status == "ok"
    assert read.error is None
    assert read.metrics == {"test/accuracy": 0.5, "test/loss": None}
    assert read.best_checkpoint == "checkpoints/best.ckpt"
    assert read.config == CONFIG
    assert read.model == "lstm"
    assert read.wall_time_s is not None
    assert read.wall_time_s > 0
    assert sorted(path.name for path in directory.iterdir()) == ["results.json"], "no temporary file is left"


def test_a_run_that_fails_is_recorded_with_the_reason(tmp_path) -> None:
    def fail() -> None:
        with recorded_run(run_in(tmp_path), CONFIG, name="a") as result:
            result.parameters = {"total": 7}
            raise RuntimeError("out of memory:\n  5 GiB")

    with pytest.raises(RuntimeError, match="out of memory"):
        fail()
    read = load_result(run_in(tmp_path))
    assert (read.status, read.error) == ("failed", "RuntimeError: out of memory: 5 GiB")
    assert read.parameters == {"total": 7}, "what was known is kept"
    assert "RuntimeError" in (run_in(tmp_path) / "traceback.txt").read_text()


def test_a_mistake_of_the_user_is_recorded_as_its_message(tmp_path) -> None:
    with pytest.raises(UserError), recorded_run(run_in(tmp_path), CONFIG, name="a"):
        raise UserError("data.file=x.csv does not exist")
    assert load_result(run_in(tmp_path)).error == "data.file=x.csv does not exist"
    assert not (run_in(tmp_path) / "traceback.txt").exists()


def test_of_refused_data_only_the_log_is_left_unless_they_are_a_row_of_a_sweep(tmp_path) -> None:
    directory = run_in(tmp_path)
    (directory / ".hydra").mkdir(parents=True)
    (directory / "train.log").write_text("what was said")
    with pytest.raises(RefusedDataError), recorded_run(directory, CONFIG, name="a", keep_refused=False):
        raise RefusedDataError("reviews.csv, record 2: no label")
    assert [path.name for path in directory.iterdir()] == ["train.log"]
    assert not list(tmp_path.rglob("latest"))

    with pytest.raises(RefusedDataError), recorded_run(directory, CONFIG, name="a"):
        raise RefusedDataError("reviews.csv, record 2: no label")
    assert load_result(directory).error == "reviews.csv, record 2: no label"

    with pytest.raises(UserError), recorded_run(run_in(tmp_path, time="2"), CONFIG, name="a", keep_refused=False):
        raise UserError("model.hidden_size=10000000: too large")
    assert load_result(run_in(tmp_path, time="2")).status == "failed", "the data were not refused"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_makes_an_interrupted_run(tmp_path, number) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as stop, recorded_run(run_in(tmp_path), CONFIG, name="a"):
        os.kill(os.getpid(), number)
    assert stop.value.code == 128 + number
    read = load_result(run_in(tmp_path))
    assert (read.status, read.error) == ("interrupted", f"stopped by {number.name}")
    assert signal.getsignal(signal.SIGTERM) == before


def test_an_exit_after_ctrl_c_is_an_interrupt_and_another_exit_a_failure(tmp_path) -> None:
    def exit_as_lightning_does() -> None:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            raise SystemExit(1)  # noqa: B904 - the interrupt is the context, as in Lightning

    with pytest.raises(SystemExit), recorded_run(run_in(tmp_path, time="1"), CONFIG, name="a"):
        exit_as_lightning_does()
    with pytest.raises(SystemExit), recorded_run(run_in(tmp_path, time="2"), CONFIG, name="a"):
        raise SystemExit(1)
    assert load_result(run_in(tmp_path, time="1")).status == "interrupted"
    assert load_result(run_in(tmp_path, time="2")).status == "failed"


def test_two_seeds_of_one_configuration_share_a_hash(tmp_path) -> None:
    for seed in (0, 1):
        with recorded_run(run_in(tmp_path, time=str(seed)), CONFIG | {"seed": seed}, name="a"):
            pass
    first, second = find_runs([tmp_path / "runs"])
    assert first.config_hash != second.config_hash
    assert first.config_hash_without_seed == second.config_hash_without_seed


def test_latest_names_the_newest_run(tmp_path) -> None:
    for name, time in (("lstm", "1"), ("gru", "2")):
        with recorded_run(run_in(tmp_path, name, time), CONFIG, name=name):
            pass
    assert load_result(tmp_path / "runs" / "latest").name == "gru"
    assert len(find_runs([tmp_path / "runs", tmp_path / "runs" / "gru"])) == 2, "each run once"


def test_a_run_that_has_nothing_to_show_leaves_latest_where_it_was(tmp_path: Path) -> None:
    with recorded_run(tmp_path / "a" / "1", {}, "a"):
        (tmp_path / "a" / "1" / "checkpoints").mkdir()
    with pytest.raises(UserError), recorded_run(tmp_path / "b" / "2", {}, "b"):
        raise UserError("no such file")
    assert (tmp_path / "latest").read_text() == "a/1\n"
    (tmp_path / "c" / "3" / "checkpoints").mkdir(parents=True)
    with pytest.raises(RuntimeError), recorded_run(tmp_path / "c" / "3", {}, "c"):
        raise RuntimeError("in mid-epoch")
    assert (tmp_path / "latest").read_text() == "c/3\n"
