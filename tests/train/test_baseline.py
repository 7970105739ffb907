"""The linear model of a run: beside a network, and as a run of its own, `model=linear`."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from sklearn.metrics import accuracy_score, f1_score, log_loss
from tests.conftest import QUICK
from tests.train.fresh_process import finish_training

from unrolled.compare.comparison import compare
from unrolled.compare.significance import compare_runs
from unrolled.config import checked, stood_in
from unrolled.data.prepare import PreparedData
from unrolled.data.sources.source import Notes
from unrolled.data.tokenizer import build_tokenizer
from unrolled.data.vocabulary import Vocabulary
from unrolled.errors import UserError
from unrolled.linear import LinearModel, fit
from unrolled.train import baseline as of_run
from unrolled.train.baseline import fit_baseline
from unrolled.train.predictions import load_predictions
from unrolled.train.preparation import with_baseline
from unrolled.train.results import NETWORK_ALONE, RunResult, find_runs
from unrolled.use.evaluate import evaluate, own_documents
from unrolled.use.export import export_onnx
from unrolled.use.load import load_run


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunResult, RunResult]:
    """The linear model and an LSTM, with the same keys and on the same documents."""
    runs = tmp_path_factory.mktemp("runs")
    small = [*QUICK, "data.limit=200", "trainer.max_epochs=1", f"output_dir={runs}"]
    code = finish_training(["-m", "model=linear,lstm", *small], runs / "output.txt")
    assert code == 0, (runs / "output.txt").read_text()[-3000:]
    by_model = {run.model: run for run in find_runs([runs])}
    return by_model["linear"], by_model["lstm"]


def test_a_run_of_the_linear_model_is_the_baseline_of_the_others(swept: tuple[RunResult, RunResult]) -> None:
    linear, lstm = swept
    assert linear.status == "ok"
    same = {name: value for name, value in lstm.baseline.items() if "/" in name}
    assert linear.metrics == same
    assert set(lstm.metrics) == {*same, NETWORK_ALONE}
    assert linear.parameters["total"] == lstm.baseline["parameters"]
    assert not linear.baseline, "it does not stand beside itself"
    assert not (linear.directory / "checkpoints").exists()
    output = (linear.directory.parents[2] / "output.txt").read_text()
    assert output.count("linear baseline: test acc") == 1
    warnings = [line for line in output.splitlines() if line.startswith("warning: ")]
    assert warnings
    assert len(warnings) == len(set(warnings)), "each once in a sweep"
    assert output.count("recipe auto") <= 1, "nothing to decide for the linear model"


def test_its_predictions_and_metrics_are_those_of_the_saved_model(swept: tuple[RunResult, RunResult]) -> None:
    linear, lstm = swept
    loaded = load_run(linear.directory)
    documents = own_documents(loaded, Notes())
    evaluation = evaluate(loaded, documents, "the test set")
    saved = load_predictions(linear)
    assert saved is not None
    assert saved["predicted"].tolist() == [evaluation.class_names[i] for i in evaluation.predicted]
    np.testing.assert_allclose(saved["probability"], evaluation.confidence, atol=2e-6)
    labels, classes = evaluation.labels, np.arange(len(evaluation.class_names))
    assert linear.metrics["test/accuracy"] == accuracy_score(labels, evaluation.predicted)
    macro = f1_score(labels, evaluation.predicted, average="macro", zero_division=0)
    assert linear.metrics["test/macro_f1"] == pytest.approx(macro)
    proba = evaluation.proba.astype(float)
    loss = log_loss(labels, proba / proba.sum(axis=1, keepdims=True), labels=classes)
    assert linear.metrics["test/loss"] == pytest.approx(loss, rel=1e-4)
    text = documents[0].text
    session = loaded.model.stream()
    for begin in range(0, len(text), 7):
        session.feed(text[begin : begin + 7])
    np.testing.assert_allclose(session.proba, evaluation.proba[0], atol=1e-6)
    assert compare_runs(linear, lstm) is not None, "McNemar's test finds the same documents"
    assert compare([linear, lstm]).keys == ["model", "implementation"]


def test_the_accuracy_of_the_network_alone_is_that_of_a_mix_without_the_linear_model(
    swept: tuple[RunResult, RunResult],
) -> None:
    _, lstm = swept
    loaded = load_run(lstm.directory)
    assert loaded.model.network is not None
    assert loaded.model.network.mix is not None
    loaded.model.network.mix.copy_(torch.tensor([1.0, 0.0]))
    alone = evaluate(loaded, own_documents(loaded, Notes()), "the test set")
    assert lstm.metrics[NETWORK_ALONE] == pytest.approx(accuracy_score(alone.labels, alone.predicted))


def test_what_it_has_not_says_so(swept: tuple[RunResult, RunResult], tmp_path: Path) -> None:
    linear, _ = swept
    loaded = load_run(linear.directory)
    with pytest.raises(UserError, match=r"no network to export: \S+linear\.npz is the whole model"):
        export_onnx(loaded, tmp_path / "export")
    with pytest.raises(UserError, match="no last checkpoint"):
        load_run(linear.directory, "last")
    assert finish_training([f"resume={linear.directory}"], tmp_path / "output.txt") == 0
    assert "already finished" in (tmp_path / "output.txt").read_text()


def test_a_network_is_loaded_with_the_linear_model_that_it_is_mixed_with(swept: tuple[RunResult, RunResult]) -> None:
    linear, lstm = swept
    model = load_run(lstm.directory).model
    assert model.linear is not None
    alone = LinearModel.load(linear.directory / "linear.npz")
    np.testing.assert_array_equal(model.linear.weights, alone.weights)
    assert model.network is not None
    assert model.network.mix is not None


@pytest.fixture
def prepared(make_corpus) -> PreparedData:
    """60 training documents of three classes, 20 validation and 30 test documents."""
    train, valid, test = (make_corpus([9] * count, seed=seed) for seed, count in enumerate((60, 20, 30)))
    words = Vocabulary(["<pad>", "<unk>", *"abcdefghi"])
    return PreparedData("x", train, valid, test, words, ["x", "y", "z"], build_tokenizer("words"), None, {})


def test_the_same_documents_and_settings_are_fitted_once(prepared, tmp_path, monkeypatch) -> None:
    fits = []
    monkeypatch.setattr(of_run, "fit", lambda *given: fits.append(given) or fit(*given))
    first, again = (fit_baseline(prepared, tmp_path)[1] for _ in range(2))
    assert len(fits) == 1
    assert (again.record(), again.peak_memory_mb) == (first.record(), first.peak_memory_mb)
    for name, value in vars(first.model).items():
        np.testing.assert_array_equal(getattr(again.model, name), value)
    train = prepared.train
    tokens, labels = train.tokens.copy(), train.labels.copy()
    tokens[-1], labels[:2] = 2 + (tokens[-1] - 1) % 9, labels[1::-1]
    others = [replace(train, tokens=tokens), replace(train, labels=labels), train.select(np.arange(1, 60))]
    settings = [(3.0,), (None, True), (None, None, True)]
    for corpus, given in [*((other, ()) for other in others), *((train, each) for each in settings)]:
        fit_baseline(replace(prepared, train=corpus), tmp_path, *given)
    assert len(fits) == 7, "other tokens, classes and documents, and other settings, are another model"
    for file in tmp_path.iterdir():
        file.write_bytes(file.read_bytes()[:-100])
    monkeypatch.setattr(of_run, "KEPT", 3)
    fit_baseline(prepared, tmp_path)
    assert len(fits) == 8, "what is damaged is fitted again"
    assert len(list(tmp_path.iterdir())) == 3
    fit_baseline(prepared, tmp_path)
    assert len(fits) == 8


def test_a_model_that_cannot_be_kept_is_a_warning(prepared, tmp_path, caplog) -> None:
    (tmp_path / "file").touch()
    _, baseline = fit_baseline(prepared, tmp_path / "file")
    assert baseline.metrics
    assert f"The linear model cannot be kept in {tmp_path / 'file'} (File exists)" in caplog.text


def test_validation_and_test_documents_are_scored_and_a_run_says_how_many_were_fitted_to(
    compose_config, prepared, tmp_path, monkeypatch
) -> None:
    train, valid, test = prepared.train, prepared.valid, prepared.test
    config = compose_config("name=x", "recipe=fixed", "model=linear", "model.C=7", f"data.cache_dir={tmp_path}")
    model = fit(train, 3, C=7.0)
    said = io.StringIO()
    scored, baseline = with_baseline(checked(stood_in(config)), prepared, Console(file=said))
    assert not said.getvalue()
    np.testing.assert_array_equal(scored.valid.scores, model.logits(valid))
    np.testing.assert_array_equal(scored.test.scores, model.logits(test))
    right = (model.logits(valid).argmax(axis=1) == valid.labels).mean()
    assert baseline is not None
    assert baseline.metrics["val/accuracy"] == pytest.approx(right)
    monkeypatch.setattr("unrolled.linear.MAX_TOKENS", 270)
    _, baseline = with_baseline(checked(stood_in(config)), prepared, Console(file=said, width=200))
    assert "linear model: fitted to 30 of the 60 training documents, at random" in said.getvalue()
    assert baseline is not None
    assert baseline.record()["documents"] == 30
