import pytest
import torch
from torch.nn import functional as F

from unrolled.train.callbacks.gradient_norm import GradientNorm


def test_the_norm_is_that_of_all_gradients_before_clipping(tiny, batches, make_trainer, events) -> None:
    (batch,) = batches(1)
    F.cross_entropy(tiny.head(tiny.encoder(batch.features)), batch.labels).backward()
    squares = [(p.grad**2).sum() for p in tiny.parameters() if p.grad is not None]
    expected = float(torch.stack(squares).sum().sqrt())
    tiny.zero_grad()
    trainer = make_trainer([GradientNorm()], max_epochs=1, log_every_n_steps=1, gradient_clip_val=1e-3)
    trainer.fit(tiny, batches(1))
    (event,) = events().Scalars("optim/gradient_norm")
    assert event.value == pytest.approx(expected, rel=1e-5)
    assert event.step == 0


def test_only_logged_steps_are_measured(tiny, batches, make_trainer, events) -> None:
    make_trainer([GradientNorm()], max_epochs=1, log_every_n_steps=3).fit(tiny, batches(7))
    read = events()
    steps = [event.step for event in read.Scalars("optim/gradient_norm")]
    assert steps == [2, 5] == [event.step for event in read.Scalars("train/loss")]
