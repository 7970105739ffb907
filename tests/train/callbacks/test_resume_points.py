"""A run that goes on from any point ends as if it had never stopped."""

import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tests.nn.build import lstm

from unrolled.data.corpus import TokenCorpus
from unrolled.nn.embedding import Embedding
from unrolled.nn.network import Network
from unrolled.nn.pooling import Concat
from unrolled.tbptt.config import TBPTTConfig
from unrolled.tbptt.datamodule import DocumentsDataModule
from unrolled.train.callbacks.history import CLOCKS, History
from unrolled.train.callbacks.resume_points import ResumePoints
from unrolled.train.callbacks.tokens_seen import TokensSeen
from unrolled.train.callbacks.weight_averaging import AveragedWeights
from unrolled.train.checkpoint_io import AtomicCheckpointIO, load_intact
from unrolled.train.classifier import Classifier
from unrolled.train.resume_files import newest_intact_point, resume_points, truncate_event_files
from unrolled.train.row_adamw import RowAdamW
from unrolled.train.scheduler import linear

LENGTHS = [4, 9, 0, 1, 7, 3, 3, 12, 5, 2, 8]
Session = Callable[..., dict[str, Any]]


@pytest.fixture
def session(make_corpus: Callable[..., TokenCorpus], tmp_path: Path) -> Session:
    """Train from the beginning or from ``point``; what is comparable of the outcome."""

    def run(point: Path | None = None, schedule: str = "stream", averaged: bool = False, **options: Any) -> dict:
        saving = {name: options.pop(name) for name in ("every_n_steps", "every_minutes", "keep") if name in options}
        saving = {"every_n_steps": 1, "every_minutes": None, "keep": 1000} | saving
        loss, k1 = "every" if schedule == "stream" else "final", options.pop("stride", None)
        tbptt = TBPTTConfig(schedule, chunk_len=3, batch_size=2, eval_batch_size=2, loss=loss, k1=k1)
        pl.seed_everything(5 if point is None else 99, verbose=False)
        model = Classifier(
            Network(
                Embedding(11, 3, dropout=0.2, word_dropout=0.1),
                lstm(3, 4, num_layers=2, dropout=0.3, input_dropout=0.2, weight_dropout=0.1),
                Concat(4),
                3,
                dropout=0.2,
            ),
            class_names=["a", "b", "c"],
            tbptt=tbptt,
            optimizer=partial(options.pop("optimizer", torch.optim.Adam), lr=0.05),
            scheduler=linear,
        )
        corpus = make_corpus(LENGTHS)
        prepared = SimpleNamespace(train=corpus, valid=corpus.select(range(5)), test=corpus.select(range(3, 8)))
        data = DocumentsDataModule(prepared, tbptt, seed=7)
        history, progress = History(), TokensSeen()
        read: list[Any] = []
        model.on_train_batch_start = lambda batch, index: read.append(
            (index, batch.blocks[0].tokens.tolist(), batch.ids.tolist(), model.trainer.current_epoch)
        )
        trainer = pl.Trainer(
            callbacks=[
                ResumePoints(tmp_path / "points", **saving),
                *([AveragedWeights(decay=0.8)] if averaged else []),
                progress,
                history,
            ],
            accelerator="cpu",
            plugins=[AtomicCheckpointIO()],
            logger=TensorBoardLogger(tmp_path, name="", version="", default_hp_metric=False),
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=False,
            num_sanity_val_steps=1,
            log_every_n_steps=1,
            **({"max_epochs": 2} | options),
        )
        trainer.fit(model, datamodule=data, ckpt_path=point, weights_only=True)
        return {
            "weights": {name: value.clone() for name, value in model.state_dict().items()},
            "rows": [{key: value for key, value in row.items() if key not in CLOCKS} for row in history.rows],
            "seen": (progress.tokens_seen, progress.documents_seen),
            "next numbers": (torch.rand(2).tolist(), np.random.rand(), random.random()),  # noqa: NPY002
            "read": read,
            "step": trainer.global_step,
        }

    return run


def curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    # TensorBoard reads files of one second by name, the tenth before the ninth
    return {tag: sorted((e.step, e.value) for e in events.Scalars(tag)) for tag in events.Tags()["scalars"]}


@pytest.mark.parametrize(
    "options",
    [
        {"schedule": "stream"},
        {"schedule": "documents"},
        {"schedule": "documents", "averaged": True, "val_check_interval": 2},
        {"schedule": "documents", "optimizer": RowAdamW, "averaged": True, "val_check_interval": 3},
        {"schedule": "stream", "stride": 2, "optimizer": RowAdamW, "accumulate_grad_batches": 3},
        {"schedule": "stream", "stride": 2, "accumulate_grad_batches": 3, "val_check_interval": 4, "max_epochs": 3},
        {"schedule": "stream", "max_steps": 17, "max_epochs": -1},
        {"schedule": "documents", "check_val_every_n_epoch": 2, "max_epochs": 3},
    ],
    ids=lambda options: " ".join(f"{key}={getattr(value, '__name__', value)}" for key, value in options.items()),
)
def test_from_every_point_a_run_ends_as_if_it_had_never_stopped(session: Session, tmp_path, options) -> None:
    whole = session(**options)
    whole_curves = curves(tmp_path)
    taken = resume_points(tmp_path / "points")
    assert len(taken) >= 4
    starts = [point for point in taken if load_intact(point)["resume"]["loader"]["next_step"] == 0]
    for point in {*taken[::5], *starts, taken[-1]}:
        done = load_intact(point)["global_step"]
        truncate_event_files(tmp_path, load_intact(point)["resume"]["event_files"])
        resumed = session(point, **options)
        assert resumed["read"] == whole["read"][-len(resumed["read"]) :], f"other steps after {done}"
        assert resumed["step"] == whole["step"]
        assert resumed["rows"] == whole["rows"]
        assert resumed["seen"] == whole["seen"]
        assert resumed["next numbers"] == whole["next numbers"]
        for name, value in resumed["weights"].items():
            assert torch.equal(value, whole["weights"][name]), f"{name} differs after a resumption at step {done}"
        assert curves(tmp_path) == whole_curves, f"other curves after a resumption at step {done}"


@pytest.mark.parametrize("schedule", ["stream", "documents"])
def test_points_are_taken_as_asked_and_the_newest_stay(session: Session, tmp_path, schedule) -> None:
    """Every 4 steps, before the end of each epoch, and not twice for the same step."""
    whole = session(schedule=schedule, every_n_steps=4, keep=1000)
    taken = sorted(int(path.stem.removeprefix("step-")) for path in resume_points(tmp_path / "points"))
    per_epoch = whole["step"] // 2
    expected, last = [], 0
    for step in range(1, whole["step"]):
        if step - last >= 4 or step % per_epoch == per_epoch - 1:
            expected.append(step)
            last = step
    assert taken == expected
    session(schedule=schedule, every_n_steps=2, keep=2)
    assert len(resume_points(tmp_path / "points")) == 2
    assert resume_points(tmp_path / "points")[0].stem == f"step-{taken[-1]:08d}"


def test_points_are_taken_by_the_clock(session: Session, tmp_path) -> None:
    session(every_n_steps=None, every_minutes=1e-9, keep=1000)
    by_clock = resume_points(tmp_path / "points")
    session(every_n_steps=None, every_minutes=1e9, keep=1000)
    assert len(by_clock) == 21, "each step but the first has one before it"


def test_the_newest_undamaged_point_is_found(session: Session, tmp_path) -> None:
    session(every_n_steps=5, keep=3)
    newest, second, third = resume_points(tmp_path / "points")
    assert newest_intact_point(tmp_path / "points") == (newest, [])
    newest.write_bytes(newest.read_bytes()[:-100])
    torch.save({"state_dict": {}}, second)
    found, damaged = newest_intact_point(tmp_path / "points")
    assert found == third
    assert [path for path, _ in damaged] == [newest, second]
    assert damaged[1][1] == "it is not a resume point"
    third.write_bytes(b"")
    assert newest_intact_point(tmp_path / "points")[0] is None


def test_event_files_are_cut_back_to_the_point(tmp_path) -> None:
    for name, size in (("a", 7), ("b", 5), ("c", 3)):
        (tmp_path / f"events.out.tfevents.{name}").write_bytes(bytes(size))
    truncate_event_files(tmp_path, {"events.out.tfevents.a": 4, "events.out.tfevents.b": 6})
    assert {path.name[-1]: path.stat().st_size for path in tmp_path.iterdir()} == {"a": 4, "b": 5}
