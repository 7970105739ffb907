"""Linear baseline: TF-IDF of tokens and pairs of tokens, and a linear support vector machine.

A document counts every token and every pair of neighbouring tokens that at least `MIN_DOCUMENTS` training documents
have. A count n weighs (1 + log n) idf, idf = log((1 + N) / (1 + N_f)) + 1 for a feature f that N_f of N documents have,
and a document's weights have length one (Salton & Buckley 1988). On top stands a linear support vector machine of one
class against the others (scikit-learn's LinearSVC, Fan et al. 2008). Its scores times one number are logits: the number
that makes the training documents likeliest, each scored by a machine which has not seen it.

It is what a recurrent classifier has to beat, and, with `model.wide=true`, what it adds to.
"""

import warnings
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from unrolled.data.corpus import TokenCorpus

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]

MIN_DOCUMENTS = 2  # a feature of a single document teaches nothing that holds for another
MAX_FEATURES = 500_000  # the most frequent stay: bounds the file and the time
FOLDS = 5  # of the training documents, for scores by a machine that has not seen a document
AT_ONCE = 4096  # documents whose features are counted together


@dataclass(frozen=True)
class LinearModel:
    """A fitted linear classifier of documents of token ids."""

    features: Integers  # [F] ascending; a token's id, or (first + 1) * 2**32 + second for a pair
    idf: Floats  # [F]
    weights: Floats  # [F, C]
    bias: Floats  # [C]
    scale: float  # from the machine's scores to logits

    def logits(self, corpus: TokenCorpus) -> Floats:
        """The logits [N, C] of each document."""
        rows = [_tf_idf(_counts(part, self.features), self.idf) @ self.weights for part in _parts(corpus)]
        return self.scale * (np.concatenate([np.zeros((0, len(self.bias)), np.float32), *rows]) + self.bias)

    def logits_of_counts(self, counts: "Counter[int]") -> Floats:
        """The logits [C] of one document of which `count_features` has counted the features."""
        from scipy.sparse import csr_matrix

        known = np.array(sorted(counts), dtype=np.int64)
        where, there = _find(known, self.features)
        values = np.array([counts[int(feature)] for feature in known[there]], dtype=np.float32)
        row = csr_matrix((values, (np.zeros(len(values), np.int64), where[there])), shape=(1, len(self.features)))
        return self.scale * ((_tf_idf(row, self.idf) @ self.weights)[0] + self.bias)

    def logits_of_document(self, ids: Iterable[int]) -> Floats:
        """The logits [C] of one document of token ids."""
        counts: Counter[int] = Counter()
        count_features(counts, ids, None)
        return self.logits_of_counts(counts)

    def save(self, path: Path) -> None:
        """Write it as plain arrays."""
        with path.open("wb") as file:
            np.savez(file, allow_pickle=False, **{name: np.asarray(value) for name, value in vars(self).items()})

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what `save` wrote. Raises OSError, ValueError or KeyError where that is not what ``path`` holds."""
        with np.load(path, allow_pickle=False) as arrays:
            known = {name: arrays[name] for name in ("features", "idf", "weights", "bias")}
            return cls(**known, scale=float(arrays["scale"]))


def fit(corpus: TokenCorpus, classes: int, folds: int = FOLDS) -> tuple[LinearModel, Floats]:
    """Fit to ``corpus``; the model, and logits [N, C] of each document by one that was not fitted to it.

    classes: C; one without documents is never predicted. folds: parts, each scored by a machine fitted to the others.
    """
    from scipy.sparse import vstack

    features, documents_with = _frequent(corpus)
    idf = (np.log((1 + len(corpus)) / (1 + documents_with)) + 1).astype(np.float32)
    x = _tf_idf(vstack([_counts(part, features) for part in _parts(corpus)]).tocsr(), idf)
    y = corpus.labels
    weights, bias = _machine(x, y, classes)
    held_out = np.zeros((len(y), classes), np.float32)
    for part in _folds(y, folds):
        rest = ~np.isin(np.arange(len(y)), part)
        own_weights, own_bias = _machine(x[rest], y[rest], classes) if rest.any() else (weights, bias)
        held_out[part] = x[part] @ own_weights + own_bias
    scale = _likeliest_scale(held_out, y)
    return LinearModel(features, idf, weights, bias, scale), scale * held_out


def count_features(counts: "Counter[int]", ids: Iterable[int], before: int | None) -> int | None:
    """Add the features of further tokens ``ids`` of a document to its ``counts``.

    before: the token before them, None at the document's beginning; returns it for the next call.
    """
    for token in ids:
        counts[token] += 1
        if before is not None:
            counts[(before + 1 << 32) + token] += 1
        before = token
    return before


def _parts(corpus: TokenCorpus) -> Iterable[TokenCorpus]:
    return (corpus.select(np.arange(i, min(i + AT_ONCE, len(corpus)))) for i in range(0, len(corpus), AT_ONCE))


def _features(corpus: TokenCorpus) -> tuple[Integers, Integers]:
    """Every feature of every document, as often as it is there, and the document's number."""
    documents = [corpus.document(i).astype(np.int64) for i in range(len(corpus))]
    pairs = [(ids[:-1] + 1 << 32) + ids[1:] for ids in documents]
    features = [feature for both in zip(documents, pairs, strict=True) for feature in both]
    rows = np.repeat(np.arange(len(features)) // 2, [len(part) for part in features])
    return np.concatenate([np.zeros(0, np.int64), *features]), rows


def _frequent(corpus: TokenCorpus) -> tuple[Integers, Integers]:
    """The features that are kept, ascending [F], and in how many documents each is [F]."""
    seen, counts = np.zeros(0, np.int64), np.zeros(0, np.int64)
    for part in _parts(corpus):
        features, rows = _features(part)
        order = np.lexsort((rows, features))
        features, rows = features[order], rows[order]
        new = np.r_[True, (features[1:] != features[:-1]) | (rows[1:] != rows[:-1])][: len(features)]
        features, of_part = np.unique(features[new], return_counts=True)
        every = np.union1d(seen, features)
        total = np.zeros(len(every), np.int64)
        total[np.searchsorted(every, seen)] += counts
        total[np.searchsorted(every, features)] += of_part
        seen, counts = every, total
    kept = counts >= min(MIN_DOCUMENTS, len(corpus))
    if kept.sum() > MAX_FEATURES:
        kept &= counts >= np.sort(counts)[-MAX_FEATURES]
    return seen[kept], counts[kept]


def _find(features: Integers, among: Integers) -> tuple[Integers, NDArray[np.bool_]]:
    """Where each feature stands ``among`` ascending ones, and whether it does."""
    where = np.searchsorted(among, features)
    where[where == len(among)] = 0
    return where, among[where] == features if len(among) else np.zeros(len(features), bool)


def _counts(corpus: TokenCorpus, among: Integers) -> Any:
    """How often each document has each feature, a sparse matrix (N, F)."""
    from scipy.sparse import csr_matrix

    features, rows = _features(corpus)
    where, there = _find(features, among)
    ones = np.ones(int(there.sum()), np.float32)
    return csr_matrix((ones, (rows[there], where[there])), shape=(len(corpus), len(among)))  # adds up what repeats


def _tf_idf(counts: Any, idf: Floats) -> Any:
    weighted = counts.copy()
    weighted.data = (1 + np.log(weighted.data)) * idf[weighted.indices]
    length = np.sqrt(np.asarray(weighted.multiply(weighted).sum(axis=1)).ravel())
    weighted.data /= np.repeat(length, np.diff(weighted.indptr))
    return weighted


def _machine(x: Any, y: Integers, classes: int) -> tuple[Floats, Floats]:
    """Weights [F, C] and bias [C] of a support vector machine; two classes get half its one score each."""
    from sklearn.svm import LinearSVC

    there = np.unique(y)
    weights, bias = np.zeros((x.shape[1], classes), np.float32), np.full(classes, -1.0, np.float32)
    if len(there) < 2 or not x.shape[1]:
        bias[there] = 1.0
        return weights, bias
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it has not converged: the scores are good long before
        machine = LinearSVC(random_state=0).fit(x, y)
    if len(there) == 2:
        weights[:, there] = machine.coef_.T / 2 * [-1, 1]
        bias[there] = machine.intercept_ / 2 * [-1, 1]
    else:
        weights[:, there], bias[there] = machine.coef_.T, machine.intercept_
    return weights, bias


def _folds(y: Integers, folds: int) -> Iterable[Integers]:
    """The documents of each part, every class spread over all parts."""
    order = np.random.default_rng(0).permutation(len(y))
    order = order[np.argsort(y[order], kind="stable")]
    return (part for fold in range(folds) if len(part := order[fold::folds]))


def _likeliest_scale(scores: Floats, y: Integers) -> float:
    """The number that times ``scores`` [N, C] makes the classes ``y`` [N] likeliest, by their softmax."""
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    def surprise(log_scale: float) -> float:
        return -float(log_softmax(np.exp(log_scale) * scores.astype(float), axis=1)[np.arange(len(y)), y].mean())

    return float(np.exp(minimize_scalar(surprise, bounds=(-3.0, 4.0), method="bounded").x)) if len(y) else 1.0
