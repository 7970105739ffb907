"""A trained classifier for texts, in the manner of scikit-learn."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unrolled.data.corpus import TokenCorpus
from unrolled.data.tokenizer import Tokenizer
from unrolled.data.vocabulary import UNKNOWN, Vocabulary
from unrolled.errors import UserError
from unrolled.linear import LinearModel, count_features
from unrolled.nn.network import Network
from unrolled.tbptt.batch import documents_batch, stream_batch
from unrolled.tbptt.carried import CarriedState
from unrolled.tbptt.loop import Truncation
from unrolled.tbptt.read import read, start
from unrolled.use.incremental import IncrementalTokenizer

PIECE = 1 << 20  # characters of a text that are tokenised at once
WINDOW_DOCUMENTS, WINDOW_TOKENS = 2048, 1 << 22  # read ahead, so that documents of like length share a batch


@dataclass(eq=False, repr=False)
class TextClassifier:
    """A trained classifier: from texts to classes.

    Texts are read as in the run's test: the same tokenizer, vocabulary and cut, whole documents chunk by chunk, so
    memory does not grow with the number of texts; with a document's length only that of its tokens does, and in two
    directions that of a layer's outputs.

    Attributes:
        classes_: [C] names of the classes, the order of the columns of ``predict_proba``.
        tokens_read: by predict, predict_proba and iter_proba, for throughput; likewise ``blank``, the texts without any
            token, and ``unknown``, those with no token that the vocabulary has.
    """

    network: Network | None  # None: the linear model classifies alone
    class_names: Sequence[str]
    vocabulary: Vocabulary
    tokenizer: Tokenizer
    chunk_len: int  # time steps read at once
    max_tokens: int | None = None  # beyond which documents are truncated, to their `keep` (see `data.cut`)
    keep: str = "head"
    batch_size: int = 128
    carry: bool = True  # whether a chunk goes on with the state of the one before
    data: Mapping[str, Any] = field(default_factory=dict)  # the run's settings, by which further files are read
    linear: LinearModel | None = None  # that a network with a wide path is mixed with
    origin: str = "built here"  # the model's name and its run, for repr

    def __post_init__(self) -> None:
        if self.network is not None:
            self.network.eval()
        self.truncation = Truncation(carry=self.carry)
        self.classes_ = np.array(list(self.class_names), dtype=str)
        self.tokens_read = self.blank = self.unknown = 0
        self._table = np.arange(len(self.vocabulary), dtype=np.int32)

    def __repr__(self) -> str:
        names = [*self.class_names[:5], *["..."] * (len(self.class_names) > 5)]
        return f"<TextClassifier: {self.origin}; {len(self.class_names)} classes: {', '.join(names)}>"

    def predict(self, texts: Iterable[str]) -> NDArray[Any]:
        """The class of each text, [N] names. Raises UserError for a single string in place of several texts."""
        return self.classes_[self.predict_proba(texts).argmax(axis=1)]

    def predict_proba(self, texts: Iterable[str]) -> NDArray[np.float32]:
        """The probability of each class for each text, [N, C]."""
        rows = list(self.iter_proba(texts))
        return np.stack(rows) if rows else np.zeros((0, len(self.classes_)), dtype=np.float32)

    def score(self, texts: Iterable[str], labels: Sequence[str]) -> float:
        """The share of texts whose class is predicted."""
        return float((self.predict(texts) == np.asarray(labels, dtype=str)).mean())

    def iter_proba(self, texts: Iterable[str]) -> Iterator[NDArray[np.float32]]:
        """The probabilities [C] of one text after the other, in order; ``texts`` may be endless."""
        if isinstance(texts, str):
            raise UserError("predict takes several texts: give a list, [text] for a single one")
        window: list[NDArray[np.int32]] = []
        tokens = 0
        for position, text in enumerate(texts):
            if not isinstance(text, str):
                raise UserError(f"texts[{position}] is {text!r:.40}, not a string; leave it out, or give an empty one")
            window.append(ids := self.encode(text))
            tokens += len(ids)
            self.blank += not len(ids)
            self.unknown += bool(len(ids)) and not (ids != UNKNOWN).any()
            if len(window) >= WINDOW_DOCUMENTS or tokens >= WINDOW_TOKENS:
                yield from self._read(window)
                window, tokens = [], 0
        if window:
            yield from self._read(window)

    def encode(self, text: str) -> NDArray[np.int32]:
        """Vocabulary ids [T], before any cut."""
        pieces = IncrementalTokenizer(self.tokenizer)
        ids = [
            np.array(self.vocabulary.lookup(pieces.feed(text[begin : begin + PIECE])), dtype=np.int32)
            for begin in range(0, len(text), PIECE)
        ]
        return np.concatenate([*ids, np.array(self.vocabulary.lookup(pieces.rest()), dtype=np.int32)])

    def stream(self) -> "Session":
        """Read one document piece by piece, as it comes.

        Raises UserError for a model that needs a document's end before its beginning: one with a backward direction, or
        with documents cut to their tail.
        """
        return Session(self)

    @torch.inference_mode()
    def _read(self, documents: list[NDArray[np.int32]]) -> NDArray[np.float32]:
        lengths = np.array([len(document) for document in documents], dtype=np.int64)
        corpus = self._corpus(np.concatenate(documents), lengths)
        self.tokens_read += int(lengths.sum())
        if self.max_tokens is not None:
            corpus = corpus.truncated(self.max_tokens, self.keep)
        if self.linear is not None:
            corpus = replace(corpus, scores=self.linear.logits(corpus))
        network = self.network
        if network is None:
            return _proba(torch.from_numpy(corpus.scores))
        result = np.empty((len(documents), len(self.classes_)), dtype=np.float32)
        order = np.argsort(-corpus.lengths, kind="stable")  # like lengths together: less padding
        for begin in range(0, len(order), self.batch_size):
            batch = documents_batch(corpus, order[begin : begin + self.batch_size], self.chunk_len)
            blocks = batch.to(network.device).blocks
            carried = read(network, blocks, start(network, len(batch.labels)), self.truncation)
            result[batch.ids.numpy()] = _proba(network.mixed(network.logits(carried.pooled), batch.scores))
        return result

    def _corpus(self, tokens: NDArray[np.int32], lengths: NDArray[np.int64]) -> TokenCorpus:
        ids = np.arange(len(lengths), dtype=np.int64)
        return TokenCorpus(tokens, self._table, np.cumsum(lengths) - lengths, lengths, np.zeros_like(ids), ids)


def _proba(logits: Tensor) -> NDArray[np.float32]:
    proba: NDArray[np.float32] = logits.float().softmax(dim=1).cpu().numpy()
    return proba


class Session:
    """One document, read as it comes: ``feed`` its pieces; ``label`` and ``proba`` say what it looks like so far.

    After the last piece they say what ``predict`` says for the whole. Memory grows with the different words and
    pairs of words of the document if a linear model counts them, and not at all otherwise.
    """

    def __init__(self, model: TextClassifier) -> None:
        network = model.network
        if network is not None and network.encoder.bidirectional:
            raise UserError(
                "this model reads documents from both ends, so none can be classified as it comes; use predict, or "
                "train with model.bidirectional=false"
            )
        if model.max_tokens is not None and model.keep != "head":
            raise UserError(
                f"this model reads the {model.keep} of long documents (data.cut={model.keep}), so none can be "
                "classified as it comes; use predict"
            )
        self.tokens = 0  # read so far, the piece of a word that may go on not counted
        self._model = model
        self._pieces = IncrementalTokenizer(model.tokenizer)
        self._waiting: list[int] = []  # ids, fewer than a chunk
        self._counts: Counter[int] = Counter()  # of the linear model's features
        self._last: int | None = None  # the token before the one to come
        with torch.inference_mode():
            self._carried = None if network is None else start(network, 1)

    @torch.inference_mode()
    def feed(self, text: str) -> "Session":
        """Read on. Pieces may end anywhere, in the middle of a word too. Returns the session itself."""
        self._waiting += self._model.vocabulary.lookup(self._pieces.feed(text))
        size = self._model.chunk_len
        while len(self._waiting) >= size:
            self._last = self._count(self._counts, self._waiting[:size], self._last)
            self._carried = self._advance(self._carried, self._waiting[:size])
            del self._waiting[:size]
        return self

    @property
    def proba(self) -> NDArray[np.float32]:
        """[C] probability of each class for what has been read."""
        with torch.inference_mode():
            rest = self._waiting + self._model.vocabulary.lookup(self._pieces.rest())
            counts = self._counts.copy()
            self._count(counts, rest, self._last)
            carried, size, tokens = self._carried, self._model.chunk_len, self.tokens
            for begin in range(0, len(rest), size):
                carried = self._advance(carried, rest[begin : begin + size])
            self.tokens = tokens  # a look ahead: nothing of it is kept
            network, linear, scores = self._model.network, self._model.linear, None
            if linear is not None:
                scores = torch.from_numpy(linear.logits_of_counts(counts)).unsqueeze(0)
            if network is not None and carried is not None:
                on_device = None if scores is None else scores.to(network.device)
                scores = network.mixed(network.logits(carried.pooled), on_device)
            assert scores is not None
            return _proba(scores)[0]

    @property
    def label(self) -> str:
        return str(self._model.classes_[self.proba.argmax()])

    def _count(self, counts: Counter[int], ids: list[int], before: int | None) -> int | None:
        return before if self._model.linear is None else count_features(counts, self._kept(ids), before)

    def _kept(self, ids: list[int]) -> list[int]:
        """Those of the next tokens that are not beyond the longest document."""
        limit = self._model.max_tokens
        return ids if limit is None else ids[: max(limit - self.tokens, 0)]

    def _advance(self, carried: CarriedState | None, ids: list[int]) -> CarriedState | None:
        model, network = self._model, self._model.network
        ids = self._kept(ids)
        begun = self.tokens > 0
        self.tokens += len(ids)
        if not ids or network is None or carried is None:
            return carried
        if begun and not model.truncation.carry:
            carried = replace(carried, state=network.encoder.initial_state(1))
        corpus = model._corpus(np.array(ids, dtype=np.int32), np.array([len(ids)], dtype=np.int64))
        batch = stream_batch(corpus, np.zeros(1, dtype=np.int64), np.zeros(1, dtype=np.int64), len(ids), 1.0)
        return read(network, batch.to(network.device).blocks, carried, model.truncation)
