import os
import signal

import pytest
import torch
from pytorch_lightning.callbacks import ModelCheckpoint

from unrolled.train.callbacks.interrupt import InterruptBetweenSteps
from unrolled.train.callbacks.tokens_seen import TokensSeen
from unrolled.train.signals import Terminated


def test_a_signal_inside_a_step_waits_for_its_end(tiny, batches, make_trainer, tmp_path) -> None:
    """Step 2 (from 0) is interrupted: it is finished, and the checkpoint holds what three steps made of the weights."""
    reference = {}
    tiny.before_step = lambda step: reference.setdefault(step, [p.detach().clone() for p in tiny.parameters()])
    state = {name: value.clone() for name, value in tiny.state_dict().items()}
    make_trainer([], max_epochs=1).fit(tiny, batches(5))
    tiny.load_state_dict(state)

    def interrupt_third(step: int) -> None:
        if step == 2:
            os.kill(os.getpid(), signal.SIGINT)

    tiny.before_step = interrupt_third
    before = signal.getsignal(signal.SIGINT)
    saver = ModelCheckpoint(tmp_path / "checkpoints", save_last=True, save_on_exception=True)
    trainer = make_trainer([TokensSeen(), InterruptBetweenSteps(), saver], enable_checkpointing=True, max_epochs=1)
    with pytest.raises(SystemExit):
        trainer.fit(tiny, batches(5))
    assert trainer.global_step == 3
    assert signal.getsignal(signal.SIGINT) == before
    checkpoint = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    assert checkpoint["global_step"] == 3
    for value, expected in zip(checkpoint["state_dict"].values(), reference[3], strict=True):
        torch.testing.assert_close(value, expected)


def test_an_interrupted_run_resumes_at_the_next_step(tiny, batches, make_trainer, tmp_path) -> None:
    state = {name: value.clone() for name, value in tiny.state_dict().items()}
    make_trainer([], max_epochs=2).fit(tiny, batches(5))
    whole = {name: value.clone() for name, value in tiny.state_dict().items()}
    tiny.load_state_dict(state)
    tiny.before_step = lambda step: os.kill(os.getpid(), signal.SIGINT) if step == 4 else None
    saver = ModelCheckpoint(tmp_path / "checkpoints", save_last=True, save_on_exception=True)
    with pytest.raises(SystemExit):  # in the last step of the first epoch
        make_trainer([InterruptBetweenSteps(), saver], enable_checkpointing=True).fit(tiny, batches(5))
    tiny.before_step = lambda step: None
    trainer = make_trainer([], max_epochs=2)
    trainer.fit(tiny, batches(5), ckpt_path=tmp_path / "checkpoints" / "last.ckpt")
    assert trainer.global_step == 10
    for name, value in tiny.state_dict().items():
        torch.testing.assert_close(value, whole[name])


def test_the_second_signal_gets_through_at_once(tiny, batches, make_trainer) -> None:
    reached = []

    def interrupt_twice(step: int) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        reached.append("after the first")
        os.kill(os.getpid(), signal.SIGINT)
        reached.append("after the second")

    tiny.before_step = interrupt_twice
    with pytest.raises(SystemExit):
        make_trainer([InterruptBetweenSteps()]).fit(tiny, batches(2))
    assert reached == ["after the first"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_what_a_cluster_sends_stops_before_the_next_step(tiny, batches, make_trainer, number) -> None:
    tiny.before_step = lambda step: os.kill(os.getpid(), number) if step == 1 else None
    before = signal.getsignal(number)
    trainer = make_trainer([InterruptBetweenSteps()])
    with pytest.raises(SystemExit) as stopped:
        trainer.fit(tiny, batches(5))
    assert isinstance(stopped.value.__context__, Terminated)
    assert stopped.value.__context__.signal == number
    assert trainer.global_step == 2
    assert signal.getsignal(number) == before


def test_gradients_that_wait_for_their_step_are_not_left_behind(tiny, batches, make_trainer) -> None:
    """The signal comes with the second of three accumulated batches: the third is still read."""
    tiny.before_step = lambda step: seen.append(step)
    seen: list[int] = []
    tiny.on_train_batch_start = lambda batch, index: os.kill(os.getpid(), signal.SIGTERM) if index == 1 else None
    trainer = make_trainer([InterruptBetweenSteps()], accumulate_grad_batches=3, max_epochs=1)
    with pytest.raises(SystemExit):
        trainer.fit(tiny, batches(9))
    assert (len(seen), trainer.global_step) == (3, 1)


def test_a_stop_comes_before_validation_and_not_after(tiny, batches, make_trainer) -> None:
    tiny.before_step = lambda step: os.kill(os.getpid(), signal.SIGTERM) if step == 1 else None
    validated = []
    tiny.on_validation_start = lambda: validated.append(tiny.global_step)
    with pytest.raises(SystemExit):
        make_trainer([InterruptBetweenSteps()], val_check_interval=2).fit(tiny, batches(6), batches(1))
    assert validated == []


def test_inside_validation_a_signal_works_at_once(tiny, batches, make_trainer) -> None:
    reached = []

    def interrupt() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        reached.append("after it")

    tiny.on_validation_batch_start = lambda batch, index: interrupt()
    with pytest.raises(SystemExit):
        make_trainer([InterruptBetweenSteps()], max_epochs=1).fit(tiny, batches(2), batches(2))
    assert reached == []
