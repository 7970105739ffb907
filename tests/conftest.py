"""Shared by all tests: runs of the real program in a process of its own, numbered documents, composed configs."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from filelock import FileLock
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig
from torch.utils.tensorboard import SummaryWriter

from unrolled.data.corpus import TokenCorpus
from unrolled.train.predictions import save_predictions
from unrolled.train.record import recorded_run
from unrolled.train.results import RunResult, load_result

ROOT = Path(__file__).parent.parent

SIDE_BY_SIDE = "PYTEST_XDIST_WORKER" in os.environ
if SIDE_BY_SIDE:  # several processes run tests: one thread for each, and for the programs that it starts
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # started in the background by a shell: Ctrl-C is tested, too
    signal.signal(signal.SIGINT, signal.default_int_handler)

Program = Callable[..., subprocess.CompletedProcess[str]]


def program(*arguments: str, timeout: float = 240, **options: object) -> "subprocess.CompletedProcess[str]":
    """Run one of the scripts at the top level as a user would, on one thread."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "120"},
        capture_output=True,
        text=True,
        timeout=timeout,
        **options,  # type: ignore[call-overload]
    )


# A real data set, a small model: seconds on one core, and far better than chance.
QUICK = (
    "data=reuters_r8",
    "data.limit=600",
    "data.max_tokens=60",
    "threads=1",
    "embedding.embedding_dim=32",
    "embedding.dropout=0",
    "embedding.word_dropout=0",
    "model.hidden_size=32",
    "pooling.dropout=0",
    "tbptt.chunk_len=20",
    "tbptt.batch_size=32",
    "optimizer.lr=0.02",
    "trainer.max_epochs=3",
)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of one finished run of `model=lstmp`: trained once, and each process side by side has a copy."""
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if SIDE_BY_SIDE else base) / "trained"
    with FileLock(f"{shared}.lock"):
        if not list(shared.rglob("stderr.txt")):
            done = program("train.py", *QUICK, "model.proj_size=16", f"output_dir={shared}")
            assert done.returncode == 0, done.stderr
            (result,) = shared.rglob("results.json")
            (result.parent / "stdout.txt").write_text(done.stdout)
            (result.parent / "stderr.txt").write_text(done.stderr)
    (result,) = shutil.copytree(shared, base / "runs").rglob("results.json")
    return result.parent


VOCABULARY = 11


def numbered_corpus(lengths: Sequence[int], classes: int = 3, seed: int = 0) -> TokenCorpus:
    """Random tokens from 2 to 10; document i has class i modulo ``classes`` and the id 100 + i."""
    sizes = np.array(lengths, dtype=np.int64)
    rng = np.random.default_rng(seed)
    return TokenCorpus(
        tokens=rng.integers(2, VOCABULARY, int(sizes.sum())).astype(np.uint16),
        table=np.arange(VOCABULARY, dtype=np.int32),
        starts=sizes.cumsum() - sizes,
        lengths=sizes,
        labels=np.arange(len(sizes)) % classes,
        ids=np.arange(len(sizes)) + 100,
    )


@pytest.fixture(scope="session")
def make_corpus() -> Callable[..., TokenCorpus]:
    """`numbered_corpus`."""
    return numbered_corpus


@pytest.fixture(scope="session")
def compose_config() -> Callable[..., DictConfig]:
    """conf/ composed with overrides."""

    def composed(*overrides: str) -> DictConfig:
        GlobalHydra.instance().clear()
        with initialize_config_dir(config_dir=str(ROOT / "conf"), version_base="1.3"):
            return compose("config", overrides=list(overrides))

    return composed


ENVIRONMENT = {
    "device": "cpu",
    "device_name": "a processor",
    "precision": "32-true",
    "threads": 2,
    "timed_in_parallel": False,
}


@pytest.fixture
def record(tmp_path: Path) -> Callable[..., RunResult]:
    """Writes a run under ``tmp_path/runs``; ``right``: whether it is right on each of the test documents."""
    count = 0

    def write(
        model: str = "lstm",
        seed: int = 0,
        accuracy: float | None = 0.8,
        config: dict[str, Any] | None = None,
        right: list[bool] | None = None,
        error: str | None = None,
        environment: dict[str, Any] | None = None,
        curve: dict[int, float] | None = None,
        data: str = "tweets",
        **fields: Any,
    ) -> RunResult:
        nonlocal count
        count += 1
        directory = tmp_path / "runs" / model / str(count)
        settings = {"seed": seed, "name": f"{model} {count}", "model": {"_target_": f"x.{model}"}} | (config or {})
        try:
            with recorded_run(directory, settings, name=model, model=model, data=data) as result:
                result.environment = ENVIRONMENT | (environment or {})
                if error is not None:
                    raise RuntimeError(error)
                if accuracy is not None:
                    result.metrics = {"test/accuracy": accuracy, "test/macro_f1": accuracy - 0.05, "val/accuracy": 0.9}
                result.parameters = {"total": 100, "encoder": 60}
                result.speed = {"tokens_per_second": 1000.0, "ms_per_step": 5.0, "peak_memory_mb": 50.0}
                result.class_names = ["no", "yes"]
                for name, value in fields.items():
                    setattr(result, name, value)
                if right is not None:
                    labels = np.arange(len(right)) % 2
                    predicted = np.where(right, labels, 1 - labels)
                    columns = {"ids": np.arange(len(right)), "labels": labels, "predicted": predicted}
                    save_predictions(directory, columns | {"probability": np.full(len(right), 0.75)}, ["no", "yes"])
                    result.predictions = "predictions.csv"
                if curve is not None:
                    with SummaryWriter(str(directory)) as writer:
                        for step, value in curve.items():
                            writer.add_scalar("val/accuracy", value, step)
        except RuntimeError:
            return load_result(directory)
        return load_result(directory)

    return write
