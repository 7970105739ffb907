"""The estimate of a training's time is what a clock shows for a few steps, times how often they are taken."""

import re
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig
from tests.conftest import QUICK
from tests.train.fresh_process import forked

from unrolled.config import checked, stood_in
from unrolled.data.prepare import prepare
from unrolled.tbptt.datamodule import DocumentsDataModule
from unrolled.tbptt.loader import ListLoader
from unrolled.train import estimate as module
from unrolled.train.build import build_classifier
from unrolled.train.estimate import Estimate, estimate

TABLE = ["a b c d", "b c", "a a a b c d e f g", "d", "e f g", "a g", "b b b", "c", "d d d d d", "e", "f a", "g b c d e"]


@pytest.fixture
def estimated(
    tmp_path: Path, compose_config: Callable[..., DictConfig], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Estimate]:
    """Estimates with a clock on which every step takes `seconds(positions of its batch)`."""
    rows = [f"{'xy'[i % 2]},{text} {i}" for i, text in enumerate(TABLE * 10)]
    (tmp_path / "table.csv").write_text("label,text\n" + "\n".join(rows) + "\n")
    small = ("embedding.embedding_dim=3", "model.hidden_size=4", "model.proj_size=2", "tbptt.batch_size=4")

    def run(*overrides: str, seconds: Callable[[int], float] = lambda positions: 2.0) -> Estimate:
        files = (f"data.train={tmp_path / 'table.csv'}", f"data.cache_dir={tmp_path / 'cache'}")
        config = stood_in(
            compose_config("name=test", "data=csv", "model.wide=false", *files, *small, "threads=1", *overrides)
        )
        valid = checked(config)
        prepared = prepare(valid.data, valid.text, valid.seed)
        data = DocumentsDataModule(prepared, valid.tbptt, valid.seed)
        model = build_classifier(valid, prepared)
        now, looks, given = [0.0], count(), []

        def clock(device: Any) -> float:
            number, ended = divmod(next(looks), 2)  # one at the start of a step, one at its end
            if ended:
                now[0] += seconds(given[number].num_positions)
            return now[0]

        monkeypatch.setattr(module, "now", clock)
        monkeypatch.setattr(module, "ListLoader", lambda batches: given.extend(batches) or ListLoader(batches))
        found = estimate(valid, model, data)
        run.batches = len(data.train_schedule())  # type: ignore[attr-defined]
        run.positions = sum(b.num_positions for b in data.train_schedule().batches(0))  # type: ignore[attr-defined]
        run.tokens = int(prepared.train.lengths.sum())  # type: ignore[attr-defined]
        return found

    return run


def test_an_epoch_takes_a_step_for_each_batch(estimated: Any) -> None:
    found = estimated("trainer.max_epochs=3")
    assert found == Estimate(3.0, estimated.tokens, 2.0 * estimated.batches)


def test_short_and_long_batches_stand_for_all(estimated: Any) -> None:
    found = estimated(seconds=lambda positions: 0.1 * positions)
    assert found.seconds == pytest.approx(0.1 * estimated.positions, rel=0.1)


def test_epochs_multiply_and_steps_limit(estimated: Any) -> None:
    whole = estimated("trainer.max_epochs=8")
    assert whole.epochs == 8
    limited = estimated("trainer.max_epochs=8", "trainer.max_steps=4")
    assert limited.epochs * limited.seconds == pytest.approx(4 * 2.0)
    gathered = estimated("trainer.max_epochs=8", "trainer.max_steps=4", "trainer.accumulate_grad_batches=2")
    assert gathered.epochs * gathered.seconds == pytest.approx(8 * 2.0)
    part = estimated("trainer.max_epochs=8", "trainer.limit_train_batches=3")
    assert part.seconds == pytest.approx(3 * 2.0)


@pytest.mark.parametrize("overrides", [("tbptt=stream64",), ("trainer.precision=bf16-mixed",), ("optimizer=sgd",)])
def test_whatever_is_trained(estimated: Any, overrides: tuple[str, ...]) -> None:
    found = estimated(*overrides, "tbptt.batch_size=4")
    assert found.seconds == 2.0 * estimated.batches


@pytest.mark.parametrize(("seconds", "said"), [(3.4, "about 17 s"), (50.0, "about 4.2 min"), (2400.0, "about 3.3 h")])
def test_what_it_says(seconds: float, said: str) -> None:
    text = str(Estimate(5.0, 3_000_000, seconds))
    assert said in text
    assert f"(5 epochs, 3.0 M tokens each, at {3_000_000 / seconds:,.0f} tokens/s" in text


def test_a_dry_run_says_it_and_trains_nothing(tmp_path: Path) -> None:
    done = forked("train.py", *QUICK, "model.proj_size=16", "dry_run=true", f"output_dir={tmp_path}")
    assert done.returncode == 0, done.stderr
    assert re.search(r"training will take at most about \d\S* (s|min) \(3 epochs, [\d,]+ tokens each, at ", done.stdout)
    assert not list(tmp_path.rglob("*.ckpt")) + list(tmp_path.rglob("events*")) + list(tmp_path.rglob("results.json"))
    assert "validation_step" not in done.stderr
