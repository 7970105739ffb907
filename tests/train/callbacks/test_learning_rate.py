import pytest
import torch

from unrolled.train.callbacks.learning_rate import LearningRate


def test_the_rate_that_each_step_used_is_logged(tiny, batches, make_trainer, events) -> None:
    def halved() -> dict:
        optimizer = torch.optim.SGD(tiny.parameters(), lr=0.8)
        scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.5)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    tiny.configure_optimizers = halved
    make_trainer([LearningRate()], max_epochs=1, log_every_n_steps=1).fit(tiny, batches(3))
    assert [e.value for e in events().Scalars("optim/learning_rate")] == pytest.approx([0.8, 0.4, 0.2])


def test_groups_are_told_apart_by_name(tiny, batches, make_trainer, events) -> None:
    groups = [{"params": tiny.encoder.parameters(), "name": "encoder"}, {"params": tiny.head.parameters(), "lr": 0.3}]
    tiny.configure_optimizers = lambda: torch.optim.SGD(groups, lr=0.1)
    make_trainer([LearningRate()], max_epochs=1, log_every_n_steps=1).fit(tiny, batches(1))
    read = events()
    assert read.Scalars("optim/learning_rate_encoder")[0].value == pytest.approx(0.1)
    assert read.Scalars("optim/learning_rate_1")[0].value == pytest.approx(0.3)
