"""Against scikit-learn's own TF-IDF and support vector machine, and by what must hold of any such model."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from scipy.special import log_softmax
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.svm import LinearSVC

from tests.conftest import VOCABULARY, numbered_corpus
from unrolled import linear
from unrolled.data.corpus import TokenCorpus
from unrolled.linear import LinearModel, affordable, count_features, fit


def topics(documents: int = 60, classes: int = 3, seed: int = 0) -> TokenCorpus:
    """Random documents, one of them empty, in which every class has tokens that it likes."""
    lengths = np.random.default_rng(seed).integers(1, 12, documents)
    lengths[5] = 0
    corpus = numbered_corpus(lengths.tolist(), classes, seed)
    tokens = corpus.tokens.copy()
    for i, (start, length) in enumerate(zip(corpus.starts, corpus.lengths, strict=True)):
        tokens[start : start + length : 2] = 2 + i % classes
    return replace(corpus, tokens=tokens)


def listed(corpus: TokenCorpus) -> list[list[int]]:
    return [corpus.document(i).tolist() for i in range(len(corpus))]


@pytest.mark.parametrize("at_once", [1, 50, 1 << 20], ids=["each alone", "parts", "one part"])
@pytest.mark.parametrize(("classes", "C", "balanced"), [(2, 1.0, False), (4, 0.3, False), (4, 0.3, True)])
def test_scores_are_those_of_scikit_learn(classes, C, balanced, at_once, monkeypatch) -> None:
    monkeypatch.setattr(linear, "AT_ONCE", at_once)
    train, test = topics(classes=classes), topics(30, classes, seed=1)
    if balanced:  # classes of different sizes, that is
        train = train.select((train.labels > 0) | (train.ids < 130))
    pairs = {"ngram_range": (1, 2), "min_df": 2, "sublinear_tf": True, "preprocessor": None, "token_pattern": None}
    tf_idf = TfidfVectorizer(**pairs, lowercase=False, tokenizer=lambda ids: [str(i) for i in ids], stop_words=None)
    machine = LinearSVC(C=C, class_weight="balanced" if balanced else None, random_state=0)
    machine.fit(tf_idf.fit_transform(listed(train)), train.labels)
    expected = machine.decision_function(tf_idf.transform(listed(test)))
    model, _ = fit(train, classes, C, balanced)
    scores = model.logits(test) / model.scale
    if classes == 2:
        np.testing.assert_allclose(scores.sum(axis=1), 0, atol=1e-5)
        scores = scores[:, 1] - scores[:, 0]
    np.testing.assert_allclose(scores, expected, atol=2e-3)  # the machine stops near the optimum, on either side
    assert len(model.features) == len(tf_idf.vocabulary_)


def test_the_scale_makes_the_training_documents_likeliest() -> None:
    train = topics()
    model, held_out = fit(train, 3)

    def loss(scale: float) -> float:
        return -log_softmax(scale * held_out / model.scale, axis=1)[np.arange(len(train)), train.labels].mean()

    losses = [loss(scale) for scale in model.scale * np.array([0.8, 0.95, 1, 1.05, 1.25])]
    assert np.argmin(losses) == 2, losses


def test_a_document_is_scored_by_a_model_that_does_not_know_its_class() -> None:
    rng = np.random.default_rng(0)
    corpus = numbered_corpus([20] * 300, 2)
    corpus = replace(corpus, labels=rng.integers(0, 2, 300))  # classes without any reason: nothing can be learned
    model, held_out = fit(corpus, 2, C=100.0)
    assert (model.logits(corpus).argmax(axis=1) == corpus.labels).mean() > 0.6, "learned by heart"
    assert abs((held_out.argmax(axis=1) == corpus.labels).mean() - 0.5) < 0.1


def test_a_class_without_documents_scores_minus_one() -> None:
    train = topics()
    model, held_out = fit(replace(train, labels=train.labels * 2), 6)
    for scores in (model.logits(train) / model.scale, held_out / model.scale):
        np.testing.assert_allclose(scores[:, [1, 3, 5]], -1, rtol=1e-6)
        assert set(scores.argmax(axis=1)) <= {0, 2, 4}


@pytest.mark.parametrize("lengths", [[], [0], [0, 0, 0], [1], [4, 5, 6]], ids=str)
@pytest.mark.parametrize("classes", [1, 3])
def test_little_or_nothing_to_learn_from(lengths, classes) -> None:
    train = replace(numbered_corpus(lengths), labels=np.zeros(len(lengths), np.int64))
    model, held_out = fit(train, classes)
    assert held_out.shape == (len(lengths), classes)
    test = numbered_corpus([0, 3, 7])
    logits = model.logits(test)
    assert logits.shape == (3, classes)
    assert np.isfinite(logits).all()
    assert np.isfinite(held_out).all()
    if lengths:
        assert logits.argmax(axis=1).tolist() == [0, 0, 0], "the only class"


def test_a_document_in_pieces_has_the_scores_of_the_whole(tmp_path: Path) -> None:
    model, _ = fit(topics(), 3)
    model.save(tmp_path / "linear.npz")
    loaded = LinearModel.load(tmp_path / "linear.npz")
    test = topics(20, seed=2)
    whole = loaded.logits(test)
    np.testing.assert_array_equal(whole, model.logits(test))
    for ids, expected in zip(listed(test), whole, strict=True):
        counts: Counter[int] = Counter()
        last = None
        for begin in range(0, len(ids), 3):
            last = count_features(counts, ids[begin : begin + 3], last)
        np.testing.assert_allclose(model.logits_of_counts(counts), expected, atol=1e-5)
        np.testing.assert_allclose(model.logits_of_document(ids), expected, atol=1e-5)


def test_what_is_no_model_cannot_be_loaded(tmp_path: Path) -> None:
    file = tmp_path / "linear.npz"
    fit(topics(), 3)[0].save(file)
    for content in (b"", b"no archive", file.read_bytes()[:-100]):
        file.write_bytes(content)
        with pytest.raises(ValueError):
            LinearModel.load(file)
    np.savez(file, features=np.zeros(1))
    with pytest.raises(ValueError, match="idf"):
        LinearModel.load(file)


def test_what_is_fitted_is_bounded(monkeypatch) -> None:
    """Of too many documents a random part; of too many features those that most documents have."""
    train = topics(200)
    everything, _ = fit(train, 3)
    assert len(affordable(train, 3)) == 200
    monkeypatch.setattr(linear, "MAX_WORK", 900)
    monkeypatch.setattr(linear, "ENOUGH_TOKENS", 200)
    monkeypatch.setattr(linear, "MAX_WEIGHTS", 3 * VOCABULARY)
    assert 150 < train.lengths[affordable(train, 9)].sum() <= 200
    chosen = affordable(train, 3)
    assert 250 < train.lengths[chosen].sum() <= 300
    model, held_out = fit(train, 3)
    part = train.select(chosen)
    documents_with: Counter[int] = Counter()
    for ids in listed(part):
        documents_with.update({*ids, *((first + 1 << 32) + second for first, second in pairwise(ids))})
    assert len(model.features) == VOCABULARY < len(everything.features)
    rarest = min(documents_with[f] for f in model.features.tolist())
    assert all(count <= rarest for f, count in documents_with.items() if f not in model.features)
    others = np.setdiff1d(np.arange(200), chosen)
    np.testing.assert_array_equal(held_out[others], model.logits(train.select(others)), "not seen by the model at all")
    assert (held_out[chosen] != model.logits(part)).any()
