import torch

from unrolled.train.callbacks.tokens_seen import TokensSeen


def test_tokens_and_documents_are_counted(tiny, batches, make_trainer, events) -> None:
    make_trainer([TokensSeen()]).fit(tiny, batches(4), batches(1))
    read = events()
    assert [(e.step, e.value) for e in read.Scalars("progress/tokens_seen")][:2] == [(1, 22.0), (3, 44.0)]
    assert read.Scalars("progress/documents_seen")[-1].value == 2 * 4 * 4


def test_metrics_are_written_over_tokens_too(tiny, batches, make_trainer, events) -> None:
    make_trainer([TokensSeen()]).fit(tiny, batches(4), batches(1))
    read = events()
    over_tokens = read.Scalars("progress/val_accuracy_by_tokens")
    assert [event.step for event in over_tokens] == [44, 88]
    assert [event.value for event in over_tokens] == [event.value for event in read.Scalars("val/accuracy")]
    assert [event.step for event in read.Scalars("progress/train_loss_by_tokens")] == [22, 44, 66, 88]


def test_counting_goes_on_after_a_resumption(tiny, batches, make_trainer, tmp_path) -> None:
    trainer = make_trainer([TokensSeen()], max_epochs=1)
    trainer.fit(tiny, batches(4))
    trainer.save_checkpoint(tmp_path / "end.ckpt")
    torch.load(tmp_path / "end.ckpt", weights_only=True)
    resumed = TokensSeen()
    make_trainer([resumed], max_epochs=2).fit(tiny, batches(4), ckpt_path=tmp_path / "end.ckpt")
    assert resumed.tokens_seen == 2 * 44
    assert resumed.documents_seen == 2 * 16
