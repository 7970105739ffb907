import os
import signal

import pytest
import torch

from unrolled.train.callbacks.checkpoints import BestCheckpoint, LastCheckpoint, checkpoint_to_test
from unrolled.train.callbacks.history import History


def biases(path) -> torch.Tensor:
    return torch.load(path, weights_only=True)["state_dict"]["head.bias"]


def test_the_best_and_the_last_weights_are_kept_apart(tiny, batches, make_trainer, tmp_path) -> None:
    """Training goes uphill, so that the first validation is the best and the last the worst."""
    seen = []
    tiny.on_validation_end = lambda: seen.append(
        (float(make.callback_metrics["val/loss"]), tiny.head.bias.detach().clone())
    )
    tiny.configure_optimizers = lambda: torch.optim.SGD(tiny.parameters(), lr=0.1, maximize=True)
    savers = [BestCheckpoint(tmp_path / "c", monitor="val/loss", mode="min"), LastCheckpoint(tmp_path / "c")]
    make = make_trainer(savers, enable_checkpointing=True, max_epochs=3)
    make.fit(tiny, batches(2), batches(1))
    losses = [loss for loss, _ in seen]
    assert losses == sorted(losses)
    assert sorted(path.name for path in (tmp_path / "c").iterdir()) == ["best.ckpt", "last.ckpt"]
    torch.testing.assert_close(biases(tmp_path / "c" / "best.ckpt"), seen[0][1])
    torch.testing.assert_close(biases(tmp_path / "c" / "last.ckpt"), seen[2][1])
    path, which = checkpoint_to_test(make)
    assert path == str(tmp_path / "c" / "best.ckpt")
    assert which == f"best checkpoint (val/loss = {losses[0]:.4f})"


@pytest.mark.parametrize(
    ("accuracies", "losses", "best"),
    [
        ([0.5, 0.5, 0.5, 0.4], [3.0, 1.0, 2.0, 0.5], 1),
        ([0.5, 0.6, 0.6], [1.0, 9.0, 9.0], 1),
        ([0.5, 0.6, 0.5], [1.0, 9.0, 0.1], 1),
        ([0.5, 0.5, 0.5], [2.0, float("nan"), 1.0], 2),
    ],
    ids=["equal accuracy", "equal in both: the first", "loss decides between equals only", "no number is no loss"],
)
@pytest.mark.parametrize("resumed_after", [None, 1, 2])
def test_of_equal_accuracies_the_lower_loss_is_the_best(
    tiny, batches, make_trainer, tmp_path, accuracies, losses, best, resumed_after
) -> None:
    def validate(batch, batch_idx) -> None:
        tiny.log("val/accuracy", accuracies[tiny.current_epoch])
        tiny.log("val/loss", losses[tiny.current_epoch])

    tiny.validation_step = validate
    for epochs in ([] if resumed_after is None else [resumed_after]) + [len(accuracies)]:
        history = History()
        savers = [history, BestCheckpoint(tmp_path / "c"), LastCheckpoint(tmp_path / "c")]
        trainer = make_trainer(savers, enable_checkpointing=True, max_epochs=epochs)
        point = tmp_path / "c" / "last.ckpt"
        trainer.fit(tiny, batches(1), batches(1), ckpt_path=point if point.is_file() else None)
    assert torch.load(tmp_path / "c" / "best.ckpt", weights_only=True)["epoch"] == best
    assert history.best is not None
    assert history.best["epoch"] == best, "the results are those of the weights that are kept"


def test_steps_after_the_last_validation_are_in_the_last_checkpoint(tiny, batches, make_trainer, tmp_path) -> None:
    savers = [BestCheckpoint(tmp_path / "c"), LastCheckpoint(tmp_path / "c")]
    trainer = make_trainer(savers, enable_checkpointing=True, max_epochs=1, max_steps=5, val_check_interval=2)
    trainer.fit(tiny, batches(8), batches(1))
    assert torch.load(tmp_path / "c" / "last.ckpt", weights_only=True)["global_step"] == 5
    torch.testing.assert_close(biases(tmp_path / "c" / "last.ckpt"), tiny.head.bias.detach())


def test_without_a_validation_the_present_weights_are_tested(tiny, batches, make_trainer, tmp_path) -> None:
    savers = [BestCheckpoint(tmp_path / "c"), LastCheckpoint(tmp_path / "c")]
    trainer = make_trainer(savers, enable_checkpointing=True, max_epochs=1)
    trainer.fit(tiny, batches(2))
    assert checkpoint_to_test(trainer) == (None, "weights at the end of training (no validation was made)")
    assert (tmp_path / "c" / "last.ckpt").is_file()


def test_an_interrupted_run_has_its_last_weights(tiny, batches, make_trainer, tmp_path) -> None:
    tiny.before_step = lambda step: os.kill(os.getpid(), signal.SIGINT) if step == 3 else None
    savers = [BestCheckpoint(tmp_path / "c"), LastCheckpoint(tmp_path / "c")]
    with pytest.raises(SystemExit):
        make_trainer(savers, enable_checkpointing=True).fit(tiny, batches(2), batches(1))
    assert torch.load(tmp_path / "c" / "last.ckpt", weights_only=True)["global_step"] == 3
    assert torch.load(tmp_path / "c" / "best.ckpt", weights_only=True)["global_step"] == 2
