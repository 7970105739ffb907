import importlib.util
import json
import shutil

import numpy as np
import pytest
import torch
from tests.runs.test_predictor import model, texts

from unrolled.encoders.build import gru, lstm
from unrolled.errors import UserError
from unrolled.runs.export import ChunkModel, export_onnx, main, run_onnx
from unrolled.runs.load import load_run

HAS_ONNX = all(importlib.util.find_spec(package) for package in ("onnx", "onnxruntime"))


@pytest.mark.parametrize("options", [{"cell": gru}, {"cell": lstm}, {"carry": False}], ids=["gru", "lstm", "chopped"])
def test_chunk_by_chunk_is_the_whole(options) -> None:
    """The module that is exported, called as its user will call it: the last chunk padded, the carry handed on."""
    classifier = model(**options)
    chunked = ChunkModel(classifier).eval()
    for text in ["", *texts(5)]:
        ids, carry, size = classifier.encode(text), chunked.start(), classifier.chunk_len
        for begin in range(0, max(len(ids), 1), size):
            part = ids[begin : begin + size]
            tokens = torch.zeros(size, 1, dtype=torch.int64)
            tokens[: len(part), 0] = torch.from_numpy(part)
            with torch.no_grad():
                proba, *carry = chunked(tokens, torch.tensor([len(part)]), *carry)
        np.testing.assert_allclose(proba[0], classifier.predict_proba([text])[0], atol=1e-6)


def test_the_exported_model_is_the_trained_one(trained, tmp_path) -> None:
    run = load_run(trained)
    if not HAS_ONNX:  # an extra: without it there is one sentence, and nothing is written
        with pytest.raises(UserError, match=r"needs the package onnx.*pip install"):
            export_onnx(run, tmp_path / "out")
        assert not (tmp_path / "out").exists()
        return
    with torch.no_grad():  # as trained, probabilities hardly depend on the tokens' order
        run.model.classifier.encoder.directions[0][0].recurrence.weight_hh_l0.mul_(5)
    difference = export_onnx(run, tmp_path / "out", chunk=7)
    assert difference < 1e-5
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "model.onnx", "carry.npz", "labels.txt", "vocabulary.txt", "model.json",
    }  # fmt: skip
    text = "oil prices rose in the second quarter, said the ministry of trade in tokyo on friday"
    ids = run.model.encode(text)
    assert len(ids) > 14
    expected = run.model.predict_proba([text])[0]
    np.testing.assert_allclose(run_onnx(tmp_path / "out", ids, 7), expected, atol=1e-5)
    vocabulary = (tmp_path / "out" / "vocabulary.txt").read_text().splitlines()
    assert vocabulary[ids[0]] == "oil"
    assert (tmp_path / "out" / "labels.txt").read_text().splitlines() == run.model.classes_.tolist()
    assert json.loads((tmp_path / "out" / "model.json").read_text())["chunk_len"] == 7
    with pytest.raises(UserError, match="is not empty, and nothing is overwritten"):
        export_onnx(run, tmp_path / "out")


def test_mistakes_are_user_errors(trained, tmp_path) -> None:
    with pytest.raises(UserError, match="format=torch: there is onnx only"):
        main([f"run={trained}", "format=torch"])
    with pytest.raises(UserError, match="chunk=0: a whole number"):
        main([f"run={trained}", "chunk=0"])
    shutil.rmtree(tmp_path)
    with pytest.raises(UserError, match="is not a run"):
        main([f"run={tmp_path}"])
