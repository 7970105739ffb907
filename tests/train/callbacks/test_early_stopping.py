"""Training that ends when validation no longer improves, in a process of its own, killed and resumed as well."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from pytorch_lightning.callbacks import EarlyStopping as LightningEarlyStopping
from tests.train.fresh_process import finish_training, start_training

from unrolled.train.callbacks.early_stopping import EarlyStopping

SMALL = (
    *("data=reuters_r8", "data.limit=200", "data.max_tokens=40", "threads=1", "embedding.embedding_dim=16"),
    *("model=gru", "model.hidden_size=16", "tbptt.batch_size=32", "optimizer.lr=0.1", "scheduler=constant"),
    *("trainer.max_epochs=60", "checkpoint.every_n_steps=2", "callbacks.averaging=null"),
)


def record(runs: Path) -> dict[str, Any]:
    (file,) = runs.rglob("results.json")
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def losses(runs: Path) -> list[float]:
    return [epoch["val/loss"] for epoch in record(runs)["history"]]


def test_training_ends_after_so_many_epochs_without_a_lower_loss_and_a_resumed_run_where_it_would_have(
    tmp_path: Path,
) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    arguments = [*SMALL, "callbacks.early_stopping.patience=2"]
    assert finish_training([*arguments, f"output_dir={whole}"], tmp_path / "whole.txt") == 0
    found = losses(whole)
    best = found.index(min(found))
    assert len(found) == best + 1 + 2 < 60, "two validations after the best"
    for epoch in range(2, best):
        assert min(found[epoch - 1 : epoch + 1]) < min(found[: epoch - 1]), "it would have ended before"
    assert f"Training ends after epoch {len(found)}: best val/loss {min(found):.4f}" in (
        next(whole.rglob("train.log")).read_text()
    )

    process = start_training([*arguments, f"output_dir={killed}"], tmp_path / "killed.txt")
    epoch = 6  # optimizer steps: 180 documents of train in batches of 32
    while not any(int(file.stem[5:]) > 2 * epoch for file in killed.rglob("step-*.ckpt")):
        assert process.is_alive(), (tmp_path / "killed.txt").read_text()
        time.sleep(0.01)
    process.kill()
    process.join()
    assert record(killed)["status"] == "running"
    assert finish_training([f"resume={killed / 'latest'}"], tmp_path / "killed.txt") == 0
    assert losses(killed) == found


def test_the_preset_switches_it_on_and_without_patience_training_goes_to_the_end(compose_config) -> None:
    assert compose_config("name=x", "callbacks=early_stopping").callbacks.early_stopping.patience == 3
    assert not EarlyStopping().active
    assert EarlyStopping(stopping_threshold=0.1).active


def test_it_is_lightnings_with_the_same_state(tmp_path: Path) -> None:
    ours, theirs = EarlyStopping("val/accuracy", 4, 0.01, "max"), LightningEarlyStopping("val/accuracy", 0.01, 4)
    assert isinstance(ours, LightningEarlyStopping)
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    assert (ours.patience, ours.monitor, ours.mode, ours.min_delta) == (4, "val/accuracy", "max", 0.01)
    with pytest.raises(ValueError, match="patience=0: at least 1 validation"):
        EarlyStopping(patience=0)
