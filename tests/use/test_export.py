import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.conftest import ROOT
from tests.nn.build import gru, lstm
from tests.use.test_predictor import model, texts

from unrolled.errors import UserError
from unrolled.tbptt.loop import Truncation
from unrolled.use.export import ChunkModel, export_onnx, main, run_onnx
from unrolled.use.load import load_run

DOCUMENTS = (
    "",
    "grain",
    "oil prices rose in the second quarter, said the ministry of trade in tokyo on friday",
    "the bank of england said it would lend the money market 300 mln stg at a rate of 9.5 pct " * 2,
    "shr 25 cts vs 11 cts net profit 1.2 mln vs 600,000 revs 20 mln",
)


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


def test_without_onnx_there_is_one_sentence_and_nothing_is_written(trained, tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)  # what an import finds where the package is not installed
    with pytest.raises(UserError, match=r"needs the package onnx.*pip install"):
        export_onnx(load_run(trained), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_exported_model_is_the_trained_one(trained, tmp_path) -> None:
    """In onnxruntime, after every chunk of every document, and in the loop that the README shows."""
    run = load_run(trained)
    with torch.no_grad():  # as trained, probabilities hardly depend on the tokens' order
        for name, weight in run.model.network.encoder.named_parameters():
            if "weight_hh" in name:
                weight.mul_(5)
    directory = tmp_path / "export"
    assert export_onnx(run, directory, chunk=7) < 1e-5
    assert {path.name for path in directory.iterdir()} == {
        "model.onnx", "carry.npz", "labels.txt", "vocabulary.txt", "model.json", "linear.npz",
    }  # fmt: skip
    documents = [run.model.encode(text) for text in DOCUMENTS]
    assert [len(ids) > 7 for ids in documents] == [False, False, True, True, True]
    words = run.model.vocabulary.tokens
    words[1] = "unheardof"  # as `<unk>` is three tokens
    for ids in documents:
        reading = run.model.stream()
        for begin in range(0, len(ids), 7):
            reading.feed(" ".join(words[i] for i in ids[begin : begin + 7]) + " ")
            np.testing.assert_allclose(run_onnx(directory, ids[: begin + 7], 7), reading.proba, atol=1e-5)
        np.testing.assert_allclose(run_onnx(directory, ids, 7), reading.proba, atol=1e-5)
    np.testing.assert_allclose(_by_readme(tmp_path, run.model.classes_), run.model.predict_proba(DOCUMENTS), atol=1e-5)
    vocabulary = (directory / "vocabulary.txt").read_text().splitlines()
    assert vocabulary[documents[2][0]] == "oil"
    assert (directory / "labels.txt").read_text().splitlines() == run.model.classes_.tolist()
    assert json.loads((directory / "model.json").read_text())["chunk_len"] == 7
    with pytest.raises(UserError, match="is not empty, and nothing is overwritten"):
        export_onnx(run, directory)
    with pytest.raises(UserError, match="is a file; name a directory"):
        export_onnx(run, directory / "labels.txt")
    run.model.linear = run.model.network.mix = None  # as with model.wide=false and tbptt.carry=false
    run.model.truncation, run.config.tbptt.carry, run.model.chunk_len = Truncation(carry=False), False, 7
    export_onnx(run, tmp_path / "plain" / "export")
    found = _by_readme(tmp_path / "plain", run.model.classes_)
    np.testing.assert_allclose(found, run.model.predict_proba(DOCUMENTS), atol=1e-5)


def _by_readme(directory: Path, classes: np.ndarray) -> np.ndarray:
    """Probabilities [N, C] of ``DOCUMENTS`` by the README's own lines, in a process that cannot import torch."""
    (code,) = re.findall(
        r"```\w+\n(import json, numpy, onnxruntime.*?)```", (ROOT / "README.md").read_text(), re.DOTALL
    )
    code, texts = re.subn(r"^text = .*\n", "", code, flags=re.MULTILINE)
    assert texts == 1
    program = f"""
import sys
sys.modules.update(torch=None)
found, labels = [], []
for text in {DOCUMENTS!r}:
    exec({code!r})
    found.append(probabilities[0])
    labels.append(label)
numpy.save("found.npy", numpy.stack(found))
numpy.save("labels.npy", labels)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=directory, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    found = np.load(directory / "found.npy")
    assert np.load(directory / "labels.npy").tolist() == classes[found.argmax(axis=1)].tolist()
    return found


def test_mistakes_are_user_errors(trained, tmp_path) -> None:
    with pytest.raises(UserError, match="format=torch: onnx is the only format"):
        main([f"run={trained}", "format=torch"])
    with pytest.raises(UserError, match="chunk=0: a whole number"):
        main([f"run={trained}", "chunk=0"])
    shutil.rmtree(tmp_path)
    with pytest.raises(UserError, match="does not exist"):
        main([f"run={tmp_path}"])
