import pytest
import torch
from torch.nn import functional as F

from unrolled.train.callbacks.optimizer_curves import GradientNorm, LearningRate


def test_the_rate_that_each_step_used_is_logged(tiny, batches, make_trainer, events) -> None:
    def halved() -> dict:
        optimizer = torch.optim.SGD(tiny.parameters(), lr=0.8)
        scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.5)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    tiny.configure_optimizers = halved
    make_trainer([LearningRate()], max_epochs=1, log_every_n_steps=1).fit(tiny, batches(3))
    assert [e.value for e in events().Scalars("optim/learning_rate")] == pytest.approx([0.8, 0.4, 0.2])


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


def test_rows_of_a_sparse_gradient_count_as_often_as_they_were_read(tiny, batches, make_trainer, events) -> None:
    tiny.embedding = torch.nn.Embedding(7, 3, sparse=True)
    tiny.training_step = lambda batch, batch_idx: tiny.embedding(torch.tensor([1, 1, 2])).sum()
    make_trainer([GradientNorm()], max_epochs=1, log_every_n_steps=1).fit(tiny, batches(1))
    (event,) = events().Scalars("optim/gradient_norm")
    assert event.value == pytest.approx((3 * 2**2 + 3 * 1**2) ** 0.5)
