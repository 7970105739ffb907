import json

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2

from unrolled.train.callbacks.history import History
from unrolled.train.callbacks.hparams import SPEED, HParams

CONFIG = {"seed": 0, "model": {"name": "lstm", "hidden_size": 5, "proj_size": None}, "carry": True}
KEYS = ["seed", "model.name", "model.hidden_size", "model.proj_size", "model.missing", "carry"]


def sessions(read) -> list[plugin_data_pb2.SessionStartInfo]:
    tags = read.PluginTagToContent("hparams")
    starts = [tag for tag in tags if "session_start_info" in tag]
    return [plugin_data_pb2.HParamsPluginData.FromString(tags[tag]).session_start_info for tag in starts]


def test_one_row_with_the_chosen_keys_and_the_final_metrics(tiny, batches, make_trainer, events) -> None:
    trainer = make_trainer([History(), HParams(CONFIG, {key: key for key in KEYS})])
    trainer.fit(tiny, batches(4), batches(2))
    trainer.test(tiny, batches(2), verbose=False)
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


def test_keys_may_get_other_names(tiny, batches, make_trainer, events) -> None:
    trainer = make_trainer(
        [History(), HParams(CONFIG, {"cell": "model.name", "model": "model.hidden_size"})], max_epochs=1
    )
    trainer.test(tiny, batches(1), verbose=False)
    (session,) = sessions(events())
    assert session.hparams["cell"].string_value == "lstm"
    assert session.hparams["model"].number_value == 5


def test_the_numbers_of_a_run_are_those_of_its_record(trained) -> None:
    record = json.loads((trained / "results.json").read_text())
    read = EventAccumulator(str(trained), size_guidance={"scalars": 0})
    read.Reload()

    def last(tag: str) -> float:
        return read.Scalars(tag)[-1].value

    assert "linear" in record["parameters"], "a part of the model that predicts"
    assert {part: last(f"model/parameters_{part}") for part in record["parameters"]} == record["parameters"]
    assert last("final/parameters") == record["parameters"]["total"]
    for name in SPEED:
        assert last(f"final/{name}") == pytest.approx(record["speed"][name])
