"""One command from nothing to results, run as a user runs it."""

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tests.conftest import QUICK, ROOT, program
from tests.train.fresh_process import finish_training, forked
from torch import Tensor

from unrolled import load
from unrolled.config import undecided


def weights(run: Path) -> dict[str, Tensor]:
    state = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    assert isinstance(state, dict)
    return state


def scalars(run: Path) -> set[str]:
    events = EventAccumulator(str(run))
    events.Reload()
    return set(events.Tags()["scalars"])


def test_a_run_beats_chance_by_far(trained: Path) -> None:
    results = json.loads((trained / "results.json").read_text())
    assert results["status"] == "ok"
    assert results["metrics"]["test/accuracy"] > 0.7  # the largest of the 8 classes has 0.49
    assert results["metrics"]["test/macro_f1"] > 0.2  # always the largest class: 0.08


def test_the_same_seed_gives_the_same_weights(trained: Path, tmp_path: Path) -> None:
    done = forked("train.py", *QUICK, "model.proj_size=16", f"output_dir={tmp_path}")
    assert done.returncode == 0, done.stderr
    (again,) = (path.parent for path in tmp_path.rglob("results.json"))
    first = weights(trained)
    assert all(torch.equal(weights(again)[name], value) for name, value in first.items())


def test_results_hold_what_a_reader_needs(trained: Path) -> None:
    results = json.loads((trained / "results.json").read_text())
    assert results["parameters"]["total"] == sum(v for k, v in results["parameters"].items() if k != "total")
    assert results["parameters"]["encoder"] == 4 * 32 * (32 + 16) + 2 * 4 * 32 + 16 * 32  # LSTMP, two biases
    assert results["parameters"]["head"] == 3 * (16 + 32) * 8 + 8  # last, max and mean of outputs and inputs
    assert results["model"] == "lstmp"
    assert results["implementation"] == "handwritten"
    assert results["config"]["seed"] == 0
    assert results["config"]["model"]["proj_size"] == 16
    assert results["environment"]["threads"] == 1
    assert results["speed"]["tokens_per_second"] > 0
    assert results["tested_weights"].startswith("best checkpoint")
    assert (trained / results["best_checkpoint"]).is_file()
    labels = (trained / "predictions.csv").read_text().splitlines()
    assert len(labels) == 600 + 1


@pytest.mark.skipif(not any(map(shutil.which, ("c++", "g++", "clang++"))), reason="there is no C++ compiler")
def test_the_native_engine_ran_where_there_is_a_compiler(trained: Path) -> None:
    assert json.loads((trained / "results.json").read_text())["environment"]["engines"] == ["fused (native)"]


def test_history_and_speed_are_of_the_whole_run_though_the_weights_of_an_earlier_point_are_tested(tmp_path) -> None:
    settings = (
        "trainer.max_epochs=3",
        "optimizer.lr=1e-12",
        "trainer.log_every_n_steps=1",
        "callbacks.averaging=null",
        "model.wide=false",
        "tbptt.memory_mib=0.01",
    )
    done = forked("train.py", *QUICK, "model.proj_size=16", *settings, f"output_dir={tmp_path}")
    assert done.returncode == 0, done.stderr
    (file,) = tmp_path.rglob("results.json")
    results = json.loads(file.read_text())
    best = torch.load(file.parent / "checkpoints" / "best.ckpt", weights_only=True)
    assert best["epoch"] == 0  # nothing is learned: the first of equals
    assert [row["epoch"] for row in results["history"]] == [0, 1, 2]
    steps = results["history"][-1]["step"]
    assert steps == 3 * best["global_step"]
    skipped = 5 + 3  # by `Speed`: the first steps, and one at the start of each epoch
    assert results["speed"]["measured_steps"] > steps - skipped - 1
    assert "nothing was learned beyond the most frequent class" in done.stdout
    assert 0 < results["speed"]["recomputed_steps"] <= steps  # a batch of one chunk is not
    assert (done.stdout + done.stderr).count("tbptt.memory=retain keeps them") == 1


def test_checkpoints_hold_plain_values_only(trained: Path) -> None:
    for file in (trained / "checkpoints").glob("*.ckpt"):
        content = torch.load(file, weights_only=True)
        assert content["hyper_parameters"]["config"]["model"]["hidden_size"] == 32


def test_tensorboard_has_every_curve_under_its_prefix_and_nothing_constant(trained: Path) -> None:
    tags = scalars(trained)
    wanted = {f"{split}/{m}" for split in ("train", "val", "test") for m in ("loss", "accuracy", "macro_f1")}
    wanted |= {f"speed/{m}" for m in ("tokens_per_second", "ms_per_step", "data_wait_share")}
    wanted |= {f"model/parameters_{part}" for part in ("total", "embedding", "encoder", "head")}
    wanted |= {"optim/learning_rate", "optim/gradient_norm", "progress/tokens_seen", "progress/documents_seen"}
    assert wanted <= tags, wanted - tags
    assert not any("hp_metric" in tag for tag in tags)


def test_the_terminal_shows_a_table_and_where_to_look(trained: Path) -> None:
    shown = (trained / "stdout.txt").read_text()
    for part in ("lstmp", "handwritten", "tokens/s", "tensorboard --logdir", "parameters"):
        assert part in shown
    assert "nothing was learned" not in shown
    assert "Traceback" not in (trained / "stderr.txt").read_text()


def test_a_finished_run_keeps_its_best_and_last_weights_and_no_resume_point(trained: Path) -> None:
    files = sorted((trained / "checkpoints").iterdir())
    assert [path.name for path in files] == ["best.ckpt", "last.ckpt"]
    for file in files:
        state = torch.load(file, weights_only=True)["state_dict"]
        assert file.stat().st_size < 1.5 * sum(weight.nbytes for weight in state.values()), "no optimizer's moments"


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("model.proj_size=128", "model.proj_size=128"),
        ("model.hiden_size=3", "hiden_size"),
        ("optimizer.weight_decay=-1", "Invalid weight_decay value: -1"),
        ("+callbacks.x=true", "callbacks.x=true: must be null, or keys of a callback"),
        ("callbacks.averaging.decay=3", "decay must lie between 0 and 1, got 3"),
        ("callbacks.early_stopping.monitor=val/acc", "did you mean val/accuracy?"),
    ],
    ids=["a rule", "a misspelt key", "what a library refuses", "no callback", "what a callback refuses", "a metric"],
)
def test_a_mistake_in_the_config_is_one_message_and_no_traceback(override: str, said: str, tmp_path: Path) -> None:
    done = forked("train.py", override, f"output_dir={tmp_path}")
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "Traceback" not in done.stderr + done.stdout
    assert not list(tmp_path.rglob("results.json")), "nothing ran, so there is nothing to report"


@pytest.mark.parametrize("dry_run", ["false", "true"])
def test_a_file_that_cannot_be_read_is_one_message_and_leaves_nothing(tmp_path: Path, dry_run: str) -> None:
    file = tmp_path / "reviews.csv"
    file.write_text('text,label\ngood,1\n"never closed,0\n')
    done = forked(
        "train.py",
        "data=csv",
        f"data.train={file}",
        f"output_dir={tmp_path / 'runs'}",
        f"data.cache_dir={tmp_path}",
        f"dry_run={dry_run}",
    )
    assert done.returncode == 2
    said = done.stderr.splitlines()
    assert len(said) == 1
    for part in (f"error: {file}, record 2 (line 3)", "column 'text'", "data.quoting=false"):
        assert part in said[0]
    assert not [path for path in (tmp_path / "runs").rglob("*") if path.name != "latest"]


def test_texts_without_blanks_are_read_as_characters_and_recorded_as_if_that_had_been_typed(tmp_path: Path) -> None:
    file, output = tmp_path / "weather.csv", tmp_path / "output.txt"
    rows = [f"今天下了{'大雨' if number % 2 else '小雪'}我在家看书{number},{number % 2}" for number in range(40)]
    file.write_text("\n".join(["text,label", *rows]), encoding="utf-8")
    small = ("data=csv", f"data.train={file}", "model=gru", "model.hidden_size=8", "threads=1", "trainer.max_epochs=1")
    command = ["-m", *small, "text=auto,characters", f"output_dir={tmp_path / 'runs'}"]
    assert finish_training(command, output) == 0, output.read_text()
    said = output.read_text()
    line = "text: the texts have no blanks between words (Chinese): read as characters; text=wordpunct to change it"
    assert 0 < said.index(line) < said.index("vocabulary of")
    assert "2 jobs: 1 finished now, 1 already finished" in said, "the two are one configuration"
    (result,) = (tmp_path / "runs").rglob("results.json")
    config = json.loads(result.read_text())["config"]
    assert (config["text"]["kind"], config["choices"]["text"]) == ("characters", "characters")
    checkpoint = torch.load(result.parent / "checkpoints" / "best.ckpt", weights_only=True)
    assert checkpoint["hyper_parameters"]["config"]["text"]["kind"] == "characters"
    model = load(result.parent)
    assert model.tokenizer.kind == "characters"
    assert model.vocabulary.lookup(model.tokenizer("雨")) != [1]


def test_ctrl_c_leaves_a_usable_run(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "train.py", *QUICK, "model.proj_size=16", "trainer.max_epochs=500", f"output_dir={tmp_path}"],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    while not list(tmp_path.rglob("best.ckpt")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    (result,) = tmp_path.rglob("results.json")
    results = json.loads(result.read_text())
    assert results["status"] == "interrupted"
    assert "Traceback" not in err
    assert weights(result.parent)
    newest = max(path.name for path in result.parent.glob("checkpoints/step-*.ckpt"))
    assert f"interrupted: {result.parent}" in err
    assert f"resume with python train.py resume={result.parent} (continues from {newest})" in err


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[tuple[Path, Callable[[], None], dict[str, Any]]]:
    """A directory on a file system of 6 MB, what makes it larger, and options for the process that writes there.

    Who may not mount one gets a limit on the size of a file, which the system enforces in the same way.
    """
    folder = tmp_path / "small"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", folder], check=False).returncode:
        limit = (resource.RLIMIT_FSIZE, (1_500_000, 1_500_000))
        yield folder, lambda: None, {"preexec_fn": lambda: resource.setrlimit(*limit)}
        return
    try:
        yield folder, lambda: subprocess.run(["mount", "-o", "remount,size=40m", folder], check=True), {}
    finally:
        subprocess.run(["umount", folder], check=True)


def test_a_full_disk_is_one_message_and_the_run_can_be_resumed(small_disk) -> None:
    folder, make_room, options = small_disk
    small = ("data=book_excerpts", "data.max_tokens=60", "threads=1", "model=gru", "model.hidden_size=64")
    steps = ("embedding.embedding_dim=128", "trainer.max_epochs=3", "checkpoint.every_n_steps=1")
    assert forked("train.py", *small, "dry_run=true", f"output_dir={folder}").returncode == 0, "fills the cache"
    done = program("train.py", *small, *steps, f"output_dir={folder}", **options)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    (run,) = (path.parent for path in folder.rglob("results.json"))
    message = (
        rf"error: {run}/checkpoints/.*\.ckpt cannot be written, the disk is full: \d\.\d MiB are needed, \S+ MiB are "
    )
    message += rf"free; make room, then resume with python train\.py resume={run} \(continues from .*\)"
    assert re.search(message, done.stderr), done.stderr
    assert json.loads((run / "results.json").read_text())["status"] == "failed"
    assert not [path for path in run.rglob(".*") if path.name != ".hydra"], "no half of a file is left"
    make_room()
    done = forked("train.py", f"resume={run}")
    assert done.returncode == 0, done.stderr
    results = json.loads((run / "results.json").read_text())
    assert (results["status"], len(results["history"])) == ("ok", 3)


def test_a_recipes_run_records_numbers_and_a_sweep_knows_it_again(tmp_path: Path) -> None:
    """What the recipe chose stands in results.json and in the checkpoints as if typed; `auto` finds that run again."""
    small = ("data=book_excerpts", "data.max_tokens=20", "threads=1", "embedding.embedding_dim=4", "model=gru")
    few = ("model.hidden_size=4", "recipe.most_epochs=2", "recipe.fewest_epochs=1", "logger=none")
    arguments = ["-m", *small, *few, "recipe.documents=150", "seed=0", f"output_dir={tmp_path / 'runs'}"]
    output = tmp_path / "output.txt"
    assert finish_training(arguments, output) == 0, output.read_text()
    assert "recipe auto: batches of 8 documents (tbptt.batch_size)" in output.read_text()
    (file,) = (tmp_path / "runs").rglob("results.json")
    results = json.loads(file.read_text())
    checkpoint = torch.load(file.parent / "checkpoints" / "last.ckpt", weights_only=True)
    for config in (results["config"], checkpoint["hyper_parameters"]["config"]):
        plain = OmegaConf.create(config)
        assert (plain.tbptt.batch_size, plain.trainer.max_epochs, plain.recipe) == (8, 2, None)
        assert not undecided(plain)
    assert len(results["history"]) == 2
    assert finish_training(arguments, output) == 0, output.read_text()
    assert "0 finished now, 1 already finished" in output.read_text()
    assert len(list((tmp_path / "runs").rglob("results.json"))) == 1
