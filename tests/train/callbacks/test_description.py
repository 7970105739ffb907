from torch import nn

from unrolled.train.callbacks.description import ConfigText, ModelSummary, count_parameters


def test_parts_are_counted_by_their_formulas(tiny) -> None:
    assert count_parameters(tiny) == {
        "total": 7 * 3 + (3 * 5 + 5) + (5 * 2 + 2),
        "embedding": 7 * 3,
        "encoder": 3 * 5 + 5,
        "head": 5 * 2 + 2,
    }


def test_shared_parameters_are_counted_once_in_the_total(tiny) -> None:
    tiny.pooling = nn.Sequential(tiny.head)
    counts = count_parameters(tiny)
    assert counts["pooling"] == counts["head"] == 12
    assert counts["total"] == 21 + 20 + 12


def test_counts_and_layers_reach_tensorboard(tiny, batches, make_trainer, events) -> None:
    make_trainer([ModelSummary()], max_epochs=1).fit(tiny, batches(1))
    read = events()
    values = {
        part: read.Scalars(f"model/parameters_{part}")[0].value for part in ("total", "embedding", "encoder", "head")
    }
    assert values == {"total": 53, "embedding": 21, "encoder": 20, "head": 12}
    text = read.Tensors("model/summary/text_summary")[0].tensor_proto.string_val[0].decode()
    assert "encoder" in text
    assert "Linear" in text


def test_the_resolved_configuration_can_be_read_in_tensorboard(tiny, batches, make_trainer, events) -> None:
    config = {"seed": 0, "model": {"hidden_size": 5, "layers": [1, 2]}, "note": "größer: ja"}
    make_trainer([ConfigText(config)], max_epochs=1).fit(tiny, batches(1))
    text = events().Tensors("config/text_summary")[0].tensor_proto.string_val[0].decode()
    for line in ("seed: 0", "hidden_size: 5", "note: 'größer: ja'"):
        assert f"{line}\n" in text + "\n"
    assert all(line.startswith("    ") for line in text.splitlines()), "shown as code"
