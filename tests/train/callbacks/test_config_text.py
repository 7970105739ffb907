from unrolled.train.callbacks.config_text import ConfigText


def test_the_resolved_configuration_can_be_read_in_tensorboard(tiny, batches, make_trainer, events) -> None:
    config = {"seed": 0, "model": {"hidden_size": 5, "layers": [1, 2]}, "note": "größer: ja"}
    make_trainer([ConfigText(config)], max_epochs=1).fit(tiny, batches(1))
    text = events().Tensors("config/text_summary")[0].tensor_proto.string_val[0].decode()
    for line in ("seed: 0", "hidden_size: 5", "note: 'größer: ja'"):
        assert f"{line}\n" in text + "\n"
    assert all(line.startswith("    ") for line in text.splitlines()), "shown as code"
