import os
import signal

import pytest
import torch
from tests.train.callbacks.test_checkpoints import biases

from unrolled.train.callbacks.checkpoints import BestCheckpoint, LastCheckpoint, checkpoint_to_test
from unrolled.train.callbacks.weight_averaging import AveragedWeights


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


def test_what_validation_fits_is_saved_and_tested_with_the_average(tiny, batches, make_trainer, tmp_path) -> None:
    """A buffer, as the mix of a network and a linear model is."""
    tiny.register_buffer("fitted", torch.zeros(()))
    tiny.on_validation_epoch_end = lambda: tiny.fitted.add_(1.0)
    savers = [AveragedWeights(decay=0.5), LastCheckpoint(tmp_path / "c")]
    trainer = make_trainer(savers, enable_checkpointing=True, max_epochs=2, num_sanity_val_steps=0)
    trainer.fit(tiny, batches(3), batches(1))
    saved = torch.load(tmp_path / "c" / "last.ckpt", weights_only=True)
    assert saved["state_dict"]["fitted"] == saved["current_model_state"]["fitted"] == 2.0
    assert tiny.fitted == 2.0
