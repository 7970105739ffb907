import math

import pytest
import torch

from unrolled.train.callbacks.history import History
from unrolled.train.callbacks.tokens_seen import TokensSeen


def test_one_row_per_validation(tiny, batches, make_trainer, events) -> None:
    history = History()
    make_trainer([history, TokensSeen()]).fit(tiny, batches(4), batches(2))
    assert [row["step"] for row in history.rows] == [4, 8]
    assert [row["epoch"] for row in history.rows] == [0, 1]
    accuracies = [event.value for event in events().Scalars("val/accuracy")]
    assert [row["val/accuracy"] for row in history.rows] == pytest.approx(accuracies)
    for clock in ("seconds", "cpu_seconds"):
        assert 0 < history.rows[0][clock] < history.rows[1][clock]


def test_the_best_row_counts_and_a_nan_never_does() -> None:
    history = History()
    history.rows = [
        {"val/loss": math.nan, "val/accuracy": 0.7},
        {"val/loss": 0.5, "val/accuracy": 0.7},
        {"val/loss": 0.4, "val/accuracy": 0.6},
        {"val/loss": 0.1, "val/accuracy": math.nan},
    ]
    history.test = {"test/accuracy": 0.65}
    assert history.metrics() == {"val/loss": 0.5, "val/accuracy": 0.7, "test/accuracy": 0.65}


def test_without_a_validation_there_are_only_test_metrics(tiny, batches, make_trainer) -> None:
    history = History()
    trainer = make_trainer([history])
    trainer.fit(tiny, batches(2))
    trainer.test(tiny, batches(1), verbose=False)
    assert history.best is None
    assert set(history.metrics()) == {"test/loss", "test/accuracy"}


def test_rows_survive_a_resumption(tiny, batches, make_trainer, tmp_path) -> None:
    trainer = make_trainer([History()], max_epochs=1)
    trainer.fit(tiny, batches(2), batches(1))
    trainer.save_checkpoint(tmp_path / "end.ckpt")
    torch.load(tmp_path / "end.ckpt", weights_only=True)
    resumed = History()
    make_trainer([resumed], max_epochs=2).fit(tiny, batches(2), batches(1), ckpt_path=tmp_path / "end.ckpt")
    assert [row["step"] for row in resumed.rows] == [2, 4]
