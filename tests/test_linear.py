"""Against scikit-learn's own TF-IDF and support vector machine, and by what must hold of any such model."""

from collections import Counter
from collections.abc import Callable
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


def tf_idf(pairs: bool = True) -> TfidfVectorizer:
    """scikit-learn's own, of lists of ids."""
    options = {"ngram_range": (1, 2 if pairs else 1), "min_df": 2, "sublinear_tf": True, "stop_words": None}
    plain = {"lowercase": False, "tokenizer": lambda ids: [str(i) for i in ids], "preprocessor": None}
    return TfidfVectorizer(**options, **plain, token_pattern=None)


def held_out_loss(train: TokenCorpus, pairs: bool, C: float, folds: int) -> Callable[[float], float]:
    """The loss, by scale, of documents that a machine of scikit-learn has not seen."""
    x, scores, seen = tf_idf(pairs).fit_transform(listed(train)), np.zeros((len(train), 3)), np.zeros(len(train), bool)
    for part in list(linear._folds(train.labels))[:folds]:
        rest = np.setdiff1d(np.arange(len(train)), part)
        scores[part] = LinearSVC(C=C, random_state=0).fit(x[rest], train.labels[rest]).decision_function(x[part])
        seen[part] = True
    rows, labels = np.arange(len(train)), train.labels
    return lambda scale: -log_softmax(scale * scores, axis=1)[rows, labels][seen].mean()


@pytest.mark.parametrize("at_once", [1, 50, 1 << 20], ids=["each alone", "parts", "one part"])
@pytest.mark.parametrize(
    ("classes", "C", "pairs", "balanced"), [(2, 1.0, True, False), (4, 0.3, False, False), (4, 0.3, True, True)]
)
def test_scores_are_those_of_scikit_learn(classes, C, pairs, balanced, at_once, monkeypatch) -> None:
    monkeypatch.setattr(linear, "AT_ONCE", at_once)
    train, test = topics(classes=classes), topics(30, classes, seed=1)
    if balanced:  # classes of different sizes, that is
        train = train.select((train.labels > 0) | (train.ids < 130))
    vectors = tf_idf(pairs)
    machine = LinearSVC(C=C, class_weight="balanced" if balanced else None, random_state=0)
    machine.fit(vectors.fit_transform(listed(train)), train.labels)
    expected = machine.decision_function(vectors.transform(listed(test)))
    model = fit(train, classes, C, pairs, balanced)
    scores = model.logits(test) / model.scale
    if classes == 2:
        np.testing.assert_allclose(scores.sum(axis=1), 0, atol=1e-5)
        scores = scores[:, 1] - scores[:, 0]
    np.testing.assert_allclose(scores, expected, atol=2e-3)  # the machine stops near the optimum, on either side
    assert len(model.features) == len(vectors.vocabulary_)
    assert (model.C, model.pairs) == (C, pairs)


@pytest.mark.parametrize("held_out", [60, 20], ids=["all folds", "two folds"])
def test_the_scale_makes_documents_likeliest_that_a_machine_has_not_seen(held_out, monkeypatch) -> None:
    monkeypatch.setattr(linear, "HELD_OUT", held_out)
    train = topics()
    model = fit(train, 3, C=1.0, pairs=True)
    loss = held_out_loss(train, True, 1.0, folds=5 if held_out == 60 else 2)
    losses = [loss(scale) for scale in model.scale * np.array([0.5, 0.8, 1, 1.25, 2])]
    assert np.argmin(losses) == 2, losses


def told_by(order: bool) -> TokenCorpus:
    """300 documents of 20 tokens in 3 classes, told by the order of three tokens or, mostly, by which one is there."""
    corpus, rng = numbered_corpus([20] * 300, 3), np.random.default_rng(0)
    tokens = rng.integers(5, VOCABULARY, len(corpus.tokens))
    for start, label in zip(corpus.starts, corpus.labels, strict=True):
        place, told = start + rng.integers(0, 17), order or rng.random() < 0.8
        three = np.roll([2, 3, 4], label if told else 0)
        tokens[place : place + 3] = three if order else (three[0], *tokens[place + 1 : place + 3])
    return replace(corpus, tokens=tokens)


@pytest.mark.parametrize("order", [True, False])
def test_what_makes_unseen_documents_likeliest_is_chosen(order: bool) -> None:
    corpus, losses = told_by(order), {}
    for pairs in (True, False):
        for C in linear.TRIED:
            loss = held_out_loss(corpus, pairs, C, folds=5)
            losses[pairs, C] = min(loss(scale) for scale in np.geomspace(0.1, 20, 200))
    model = fit(corpus, 3)
    assert model.pairs == order
    assert losses[model.pairs, model.C] <= min(losses.values()) + 0.01, losses
    assert fit(corpus, 3, pairs=not order).pairs == (not order), "what is given is taken"
    assert fit(corpus, 3, C=7.0).C == 7.0


def test_of_a_large_corpus_a_part_chooses_and_all_of_it_sets_the_scale(monkeypatch) -> None:
    monkeypatch.setattr(linear, "CHOICE", 150)
    monkeypatch.setattr(linear, "HELD_OUT", 30)
    corpus, machine, sizes = told_by(order=True), linear._machine, []

    def counted(x, *settings, **more):
        sizes.append(x.shape[0])
        return machine(x, *settings, **more)

    monkeypatch.setattr(linear, "_machine", counted)
    model = fit(corpus, 3)
    assert sizes == [120] * 6 + [240, 300], "two choices of pairs, three of C; the scale; the machine itself"
    assert model.pairs
    del sizes[:]
    given = fit(corpus, 3, model.C, model.pairs)
    assert sizes == [240, 300]
    for name, value in vars(given).items():
        np.testing.assert_array_equal(getattr(model, name), value)


def test_folds_part_the_documents_and_each_class() -> None:
    labels = np.repeat([0, 1, 2], [50, 15, 5])
    folds = list(linear._folds(labels))
    assert sorted(np.concatenate(folds).tolist()) == list(range(70))
    assert [np.bincount(labels[fold]).tolist() for fold in folds] == [[10, 3, 1]] * 5


def test_where_nothing_can_be_learned_the_scores_count_for_little() -> None:
    """As the documents that set the scale were not seen: by those that were the model is sure of itself."""
    corpus = numbered_corpus([20] * 300, 2)
    corpus = replace(corpus, labels=np.random.default_rng(0).integers(0, 2, 300))  # classes without any reason
    model = fit(corpus, 2, C=100.0, pairs=True)
    logits = model.logits(corpus)
    assert (logits.argmax(axis=1) == corpus.labels).mean() > 0.6, "learned by heart"
    assert np.exp(log_softmax(logits, axis=1)).max(axis=1).mean() < 0.6


def test_a_class_without_documents_scores_minus_one() -> None:
    train = topics()
    model = fit(replace(train, labels=train.labels * 2), 6)
    scores = model.logits(train) / model.scale
    np.testing.assert_allclose(scores[:, [1, 3, 5]], -1, rtol=1e-6)
    assert set(scores.argmax(axis=1)) <= {0, 2, 4}


@pytest.mark.parametrize("lengths", [[], [0], [0, 0, 0], [1], [4, 5, 6]], ids=str)
@pytest.mark.parametrize("classes", [1, 3])
def test_little_or_nothing_to_learn_from(lengths, classes) -> None:
    train = replace(numbered_corpus(lengths), labels=np.zeros(len(lengths), np.int64))
    model = fit(train, classes)
    test = numbered_corpus([0, 3, 7])
    logits = model.logits(test)
    assert logits.shape == (3, classes)
    assert np.isfinite(logits).all()
    if lengths:
        assert logits.argmax(axis=1).tolist() == [0, 0, 0], "the only class"


def test_a_document_in_pieces_has_the_scores_of_the_whole(tmp_path: Path) -> None:
    model = fit(topics(), 3)
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
    fit(topics(), 3).save(file)
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
    everything = fit(train, 3, pairs=True)
    assert len(affordable(train, 3)) == 200
    monkeypatch.setattr(linear, "MAX_WORK", 900)
    monkeypatch.setattr(linear, "ENOUGH_TOKENS", 200)
    monkeypatch.setattr(linear, "MAX_WEIGHTS", 3 * VOCABULARY)
    assert 150 < train.lengths[affordable(train, 9)].sum() <= 200
    chosen = affordable(train, 3)
    assert 250 < train.lengths[chosen].sum() <= 300
    model = fit(train, 3, pairs=True)
    part = train.select(chosen)
    documents_with: Counter[int] = Counter()
    for ids in listed(part):
        documents_with.update({*ids, *((first + 1 << 32) + second for first, second in pairwise(ids))})
    assert len(model.features) == VOCABULARY < len(everything.features)
    rarest = min(documents_with[f] for f in model.features.tolist())
    assert all(count <= rarest for f, count in documents_with.items() if f not in model.features)
