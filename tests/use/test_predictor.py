import numpy as np
import pytest
import torch
from tests.conftest import numbered_corpus
from tests.nn.build import gru, lstm

import unrolled
from unrolled.data.tokenizer import build_tokenizer
from unrolled.data.vocabulary import Vocabulary
from unrolled.errors import UserError
from unrolled.linear import fit
from unrolled.nn.embedding import Embedding
from unrolled.nn.network import Network
from unrolled.nn.pooling import Concat
from unrolled.train.predictions import load_predictions
from unrolled.train.results import load_result
from unrolled.use.predictor import TextClassifier

WORDS = [f"w{i}" for i in range(20)]
NAMES = ["ham", "spam", "eggs"]


def model(bidirectional: bool = False, carry: bool = True, cell=gru, wide: bool = False, **options) -> TextClassifier:
    """Freshly drawn weights, large ones, so that each token matters."""
    torch.manual_seed(0)
    embedding = Embedding(len(WORDS) + 2, 3, std=1.0)
    encoder = cell(3, 5, num_layers=1, bidirectional=bidirectional)
    network = Network(embedding, encoder, Concat(5), len(NAMES), wide=wide)
    if wide:  # a linear model of the same words, though of documents about nothing
        options["linear"] = fit(numbered_corpus([9] * 60), len(NAMES))
    vocabulary = Vocabulary(["<pad>", "<unk>", *WORDS])
    return TextClassifier(
        network, NAMES, vocabulary, build_tokenizer("words"), carry=carry, **({"chunk_len": 4} | options)
    )


def texts(count: int, longest: int = 30) -> list[str]:
    rng = np.random.default_rng(1)
    return [" ".join(rng.choice([*WORDS, "unknown"], size=rng.integers(0, longest))) for _ in range(count)]


@pytest.mark.parametrize("wide", [False, True])
def test_texts_come_back_in_order_whatever_the_batches(wide) -> None:
    given = texts(40)
    alone = np.concatenate([model(wide=wide).predict_proba([text]) for text in given])
    together = model(wide=wide, batch_size=7).predict_proba(given)
    np.testing.assert_allclose(together, alone, atol=1e-6)
    np.testing.assert_allclose(together.sum(axis=1), 1, atol=1e-6)
    assert together.std(axis=0).min() > 0.01, "texts differ"


@pytest.mark.parametrize("wrong", [None, 7, b"w1", ["w1"], float("nan")])
def test_what_is_no_text_is_refused_with_its_position(wrong) -> None:
    for method in (model().predict, model().predict_proba):
        with pytest.raises(UserError, match=r"^texts\[2\] is .*, not a string"):
            method(["w1", "", wrong, "w2"])


def test_windows_are_read_as_they_come(monkeypatch) -> None:
    monkeypatch.setattr("unrolled.use.predictor.WINDOW_DOCUMENTS", 3)
    taken = []

    def endless():
        for number in range(1_000_000):
            taken.append(number)
            yield f"w{number % 20} w3"

    rows = model().iter_proba(endless())
    first = [next(rows) for _ in range(4)]
    assert len(taken) == 6
    np.testing.assert_allclose(first, model().predict_proba([f"w{i} w3" for i in range(4)]), atol=1e-6)


@pytest.mark.parametrize("piece", [1, 3, 50])
@pytest.mark.parametrize(
    "options",
    [{}, {"carry": False}, {"max_tokens": 6}, {"cell": lstm}, {"wide": True}, {"wide": True, "max_tokens": 6}],
    ids=["carry", "chopped", "cut", "lstm", "wide", "wide and cut"],
)
def test_a_document_read_in_pieces_is_classified_as_the_whole(piece, options) -> None:
    classifier = model(**options)
    for text in texts(6):
        session = classifier.stream()
        for begin in range(0, len(text), piece):
            session.feed(text[begin : begin + piece])
        whole = classifier.predict_proba([text])[0]
        np.testing.assert_allclose(session.proba, whole, atol=1e-6)
        assert session.label == NAMES[whole.argmax()]


@pytest.mark.parametrize("wide", [False, True])
def test_looking_at_a_session_does_not_change_it(wide) -> None:
    classifier = model(wide=wide)
    text = texts(1)[0] + " w1 w2 w3 w4 w5"
    session = classifier.stream()
    for end in range(1, len(text) + 1):
        session.feed(text[end - 1])
        np.testing.assert_allclose(session.proba, classifier.predict_proba([text[:end]])[0], atol=1e-6)


def test_what_cannot_be_read_as_it_comes_says_so() -> None:
    with pytest.raises(UserError, match="both ends"):
        model(bidirectional=True).stream()
    with pytest.raises(UserError, match="tail of long documents"):
        model(max_tokens=5, keep="tail").stream()
    with pytest.raises(UserError, match=r"\[text\] for a single one"):
        model().predict("one text")


def test_no_texts_give_no_rows() -> None:
    assert model().predict_proba([]).shape == (0, 3)
    assert model().predict([]).tolist() == []


def own_documents_are_cut_as_in_the_run() -> None:
    text = "w1 w2 w3 w4 w5 w6 w7 w8 w9"
    kept = {"head": "w1 w2 w3 w4", "tail": "w6 w7 w8 w9", "head+tail": "w1 w7 w8 w9"}
    for keep, rest in kept.items():
        cut = model(max_tokens=4, keep=keep).predict_proba([text])
        np.testing.assert_allclose(cut, model().predict_proba([rest]), atol=1e-6)


def test_a_loaded_run_predicts_what_it_predicted_in_its_test(trained) -> None:
    """The texts are read again from their source; the classes must be those that the test saved."""
    from unrolled.data.sources.source import Notes
    from unrolled.use.evaluate import own_documents
    from unrolled.use.load import load_run

    loaded = load_run(trained)
    saved = load_predictions(load_result(trained))
    documents = own_documents(loaded, Notes())
    assert [document.record for document in documents] == saved["ids"].tolist()
    predicted = loaded.model.predict([document.text for document in documents])
    assert predicted.tolist() == saved["predicted"].tolist()
    assert unrolled.load(trained).classes_.tolist() == load_result(trained).class_names
