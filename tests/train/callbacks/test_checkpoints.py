import os
import signal

import pytest
import torch

from unrolled.train.callbacks.checkpoints import AveragedWeights, BestCheckpoint, LastCheckpoint, checkpoint_to_test


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


def test_the_average_is_validated_saved_and_tested(tiny, batches, make_trainer, tmp_path) -> None:
    """The oracle is the recursion average <- d average + (1 - d) weights over the weights after each step, where d
    rises to the decay as (1 + n) / (10 + n) after n steps."""
    weights = []
    tiny.before_step = lambda step: weights.append(tiny.head.bias.detach().clone())
    validated = []
    tiny.on_validation_epoch_start = lambda: validated.append(tiny.head.bias.detach().clone())
    savers = [BestCheckpoint(tmp_path / "c", monitor="val/loss", mode="min"), LastCheckpoint(tmp_path / "c")]
    trainer = make_trainer([AveragedWeights(decay=0.25), *savers], enable_checkpointing=True, max_epochs=1)
    trainer.fit(tiny, batches(4), batches(1))
    current = torch.load(tmp_path / "c" / "best.ckpt", weights_only=True)["current_model_state"]["head.bias"]
    average = weights[1]  # the first average is the weights after the first step
    for n, later in enumerate([*weights[2:], current], start=1):
        d = min(0.25, (1 + n) / (10 + n))  # 2 / 11, then the decay, twice
        average = d * average + (1 - d) * later
    torch.testing.assert_close(biases(tmp_path / "c" / "best.ckpt"), average)
    torch.testing.assert_close(validated[0], average)
    trainer.test(tiny, batches(1), ckpt_path=checkpoint_to_test(trainer)[0], verbose=False)
    torch.testing.assert_close(tiny.head.bias.detach(), average)
    assert not torch.allclose(current, average)


def test_an_interrupt_in_validation_does_not_take_the_average_for_the_weights(
    tiny, batches, make_trainer, tmp_path
) -> None:
    """Validation runs with the average in the place of the weights."""
    current = []
    tiny.on_train_batch_end = lambda *_: current.append(tiny.head.bias.detach().clone())

    def interrupt() -> None:
        os.kill(os.getpid(), signal.SIGINT)

    tiny.on_validation_batch_start = lambda *_: interrupt()
    savers = [AveragedWeights(decay=0.8), LastCheckpoint(tmp_path / "c")]
    with pytest.raises(SystemExit):
        make_trainer(savers, enable_checkpointing=True).fit(tiny, batches(3), batches(1))
    saved = torch.load(tmp_path / "c" / "last.ckpt", weights_only=True)
    torch.testing.assert_close(saved["current_model_state"]["head.bias"], current[-1])
    assert not torch.allclose(saved["state_dict"]["head.bias"], current[-1])
