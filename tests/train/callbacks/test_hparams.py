import pytest
from tensorboard.plugins.hparams import plugin_data_pb2

from unrolled.train.callbacks.history import History
from unrolled.train.callbacks.hparams import HParams

CONFIG = {"seed": 0, "model": {"name": "lstm", "hidden_size": 5, "proj_size": None}, "carry": True}
KEYS = ["seed", "model.name", "model.hidden_size", "model.proj_size", "model.missing", "carry"]


def sessions(read) -> list[plugin_data_pb2.SessionStartInfo]:
    tags = read.PluginTagToContent("hparams")
    starts = [tag for tag in tags if "session_start_info" in tag]
    return [plugin_data_pb2.HParamsPluginData.FromString(tags[tag]).session_start_info for tag in starts]


@pytest.mark.parametrize("order", [0, 1])
def test_one_row_with_the_chosen_keys_and_the_final_metrics(tiny, batches, make_trainer, events, order) -> None:
    history, hparams = History(), HParams(CONFIG, KEYS)
    trainer = make_trainer([history, hparams] if order else [hparams, history])
    trainer.fit(tiny, batches(4), batches(2))
    trainer.test(tiny, batches(2), verbose=False)
    hparams.write(trainer)  # asked again: nothing happens
    read = events()
    (session,) = sessions(read)
    values = {key: getattr(value, value.WhichOneof("kind")) for key, value in session.hparams.items()}
    assert values == {
        "seed": 0,
        "model.name": "lstm",
        "model.hidden_size": 5,
        "model.proj_size": "none",
        "model.missing": "none",
        "carry": True,
    }
    assert read.Scalars("final/parameters")[0].value == 53
    (final,) = read.Scalars("final/test_accuracy")
    assert final.value == pytest.approx(read.Scalars("test/accuracy")[0].value)
    best = max(event.value for event in read.Scalars("val/accuracy"))
    assert read.Scalars("final/val_accuracy")[0].value == pytest.approx(best)
    assert len(read.Scalars("val/accuracy")) == 2, "the curve itself gets no point"
    assert "hp_metric" not in read.Tags()["scalars"]


def test_a_run_that_is_not_tested_gets_its_row_when_asked(tiny, batches, make_trainer, events) -> None:
    hparams = HParams(CONFIG, KEYS)
    trainer = make_trainer([History(), hparams], max_epochs=1)
    trainer.fit(tiny, batches(2), batches(1))
    hparams.write(trainer)
    read = events()
    assert len(sessions(read)) == 1
    assert "final/val_accuracy" in read.Tags()["scalars"]
    assert "final/test_accuracy" not in read.Tags()["scalars"]


def test_keys_may_get_other_names(tiny, batches, make_trainer, events) -> None:
    trainer = make_trainer(
        [History(), HParams(CONFIG, {"cell": "model.name", "model": "model.hidden_size"})], max_epochs=1
    )
    trainer.test(tiny, batches(1), verbose=False)
    (session,) = sessions(events())
    assert session.hparams["cell"].string_value == "lstm"
    assert session.hparams["model"].number_value == 5
