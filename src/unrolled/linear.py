"""Linear baseline: TF-IDF of tokens and pairs of tokens, and a linear support vector machine.

A document counts every token and every pair of neighbouring tokens that at least `MIN_DOCUMENTS` training documents
have. A count n weighs (1 + log n) idf, idf = log((1 + N) / (1 + N_f)) + 1 for a feature f that N_f of N documents have,
and a document's weights have length one (Salton & Buckley 1988). On top stands a linear support vector machine of one
class against the others (scikit-learn's LinearSVC, Fan et al. 2008). Its scores times one number are logits: the number
that makes training documents likeliest, each scored by a machine which has not seen it. Unless they are given,
C and whether pairs count are chosen, too, to make these documents likeliest.

It is what a recurrent classifier has to beat, and, with `model.wide=true`, what it is mixed with.
"""

import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from unrolled.data.corpus import TokenCorpus

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]

MIN_DOCUMENTS = 2  # a feature of a single document teaches nothing that holds for another
MAX_FEATURES = 500_000  # those that most documents have
MAX_WEIGHTS = 20_000_000  # features times classes: bounds the file and the memory where there are many classes
MAX_TOKENS = 1 << 24  # of the documents it is fitted to, which takes about 50 bytes a token ...
MAX_WORK = 1 << 27  # ... and a microsecond a token and class: so many of these, ...
ENOUGH_TOKENS = 1 << 21  # ... but so many tokens in any case
CHOICE = 20_000  # documents on which C and pairs are chosen: a fifth of them, held out, tells the values apart
FOLDS = 5  # of the training documents: each is scored by a machine that has not seen it, fold by fold ...
HELD_OUT = 2000  # ... until so many are, which is enough for the number before the scores
PAIR = 1 << 32  # the number of a pair is this times (first + 1), plus second; smaller numbers are tokens
TRIED = (0.3, 1.0, 3.0)  # values of C
AT_ONCE = 1 << 20  # tokens whose features are counted together


@dataclass(frozen=True)
class Entries:
    """A sparse matrix by its entries, from row to row. Using a model takes NumPy alone, fitting one SciPy, too."""

    rows: NDArray[np.int32]
    columns: NDArray[np.int32]
    values: Floats
    height: int


@dataclass(frozen=True)
class LinearModel:
    """A fitted linear classifier of documents of token ids."""

    features: Integers  # [F] ascending; a token's id, or (first + 1) * PAIR + second for a pair
    idf: Floats  # [F]
    weights: Floats  # [F, C]
    bias: Floats  # [C]
    scale: float  # from the machine's scores to logits
    C: float  # the machine's

    @property
    def pairs(self) -> bool:
        """Whether pairs of tokens are among the features."""
        return bool(len(self.features) and self.features[-1] >= PAIR)

    def logits(self, corpus: TokenCorpus) -> Floats:
        """The logits [N, C] of each document."""
        return np.concatenate([self._logits(*_counted(part)) for part in _parts(corpus)])

    def logits_of_counts(self, counts: "Counter[int]") -> Floats:
        """The logits [C] of one document of which `count_features` has counted the features."""
        features = np.array(sorted(counts), dtype=np.int64)
        values = np.array([counts[feature] for feature in features.tolist()], dtype=np.float32)
        row = Entries(np.zeros(len(features), np.int32), np.arange(len(features), dtype=np.int32), values, 1)
        return self._logits(features, row)[0]

    def logits_of_document(self, ids: Iterable[int]) -> Floats:
        """The logits [C] of one document of token ids."""
        counts: Counter[int] = Counter()
        count_features(counts, ids, None)
        return self.logits_of_counts(counts)

    def _logits(self, features: Integers, counts: "Entries") -> Floats:
        x = _tf_idf(_aligned(features, counts, self.features), self.idf)
        columns = [np.bincount(x.rows, x.values * of_class[x.columns], x.height) for of_class in self.weights.T]
        return self.scale * (np.stack(columns, axis=1).astype(np.float32) + self.bias)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All of it, as `save` writes it."""
        return {name: np.asarray(value) for name, value in vars(self).items()}

    def save(self, path: Path) -> None:
        """Write it as plain arrays."""
        with path.open("wb") as file:
            np.savez(file, allow_pickle=False, **self.arrays())

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what `save` wrote. Raises OSError or ValueError where that is not what ``path`` holds."""
        try:
            with np.load(path, allow_pickle=False) as arrays:
                known = {name: arrays[name] for name in ("features", "idf", "weights", "bias")}
                return cls(**known, scale=float(arrays["scale"]), C=float(arrays.get("C", 1.0)))
        except (EOFError, KeyError, TypeError, BadZipFile) as error:
            raise ValueError(str(error)) from error


class LinearOptions:
    """The keys of `model=linear`.

    C, pairs: see `fit`; `auto`: what is best. others: keys of recurrences, so that one sweep or experiment can go over
    all models; they do nothing here. Raises ValueError unless C is positive and pairs true, false or `auto`.
    """

    def __init__(self, C: float | str = "auto", pairs: bool | str = "auto", **others: Any) -> None:
        if C != "auto" and (isinstance(C, str) or C <= 0):
            raise ValueError(f"C={C}: must be more than 0, or auto")
        if pairs != "auto" and not isinstance(pairs, bool):
            raise ValueError(f"pairs={pairs}: must be true, false or auto")
        self.C = None if isinstance(C, str) else C
        self.pairs = None if isinstance(pairs, str) else pairs


def fit(
    corpus: TokenCorpus, classes: int, C: float | None = None, pairs: bool | None = None, balanced: bool = False
) -> LinearModel:
    """Fit to ``corpus``, of a large one to the documents of `affordable` only.

    classes: how many; one without documents has the score -1 everywhere. C: the support vector machine's, the larger
    the closer it fits the training documents; pairs: whether pairs of neighbouring tokens are features, too; None: what
    makes held-out training documents likeliest, of `TRIED` for C, of a large corpus on `CHOICE` documents. balanced:
    every class weighs the same, as with class_weights=balanced.
    """
    fitted = corpus.select(affordable(corpus, classes))
    counted = [_counted(part) for part in _parts(fitted)]
    features, documents_with = _frequent(counted, classes)
    y, Cs = fitted.labels, TRIED if C is None else (C,)
    some = every = np.arange(len(y))
    if C is None or pairs is None:
        some = np.sort(np.random.default_rng(0).permutation(every)[:CHOICE])
    best: tuple[float, float, float, Integers, Floats, Any] | None = None
    for with_pairs in (True, False) if pairs is None else (pairs,):
        kept = (features < PAIR) | with_pairs
        own = features[kept]
        idf = (np.log((1 + len(fitted)) / (1 + documents_with[kept])) + 1).astype(np.float32)
        x = _matrix(counted, own, idf)
        for tried, (scale, loss) in zip(Cs, _likeliest_scales(x, y, some, classes, Cs, balanced), strict=True):
            if best is None or loss < best[0]:
                best = loss, scale, tried, own, idf, x
    assert best is not None
    _, scale, C, features, idf, x = best
    if len(some) < len(every):  # a machine of more documents has other scores
        ((scale, _),) = _likeliest_scales(x, y, every, classes, (C,), balanced)
    weights, bias = _machine(x, y, classes, C, balanced)
    return LinearModel(features, idf, weights, bias, scale, C)


def _matrix(counted: Sequence[tuple[Integers, "Entries"]], features: Integers, idf: Floats) -> Any:
    """The documents' weights of ``features`` [N, F], as SciPy's sparse matrix."""
    from scipy.sparse import csr_matrix, vstack

    weighted = (_tf_idf(_aligned(*part, features), idf) for part in counted)
    return vstack([csr_matrix((w.values, (w.rows, w.columns)), shape=(w.height, len(idf))) for w in weighted]).tocsr()


def _held_out(y: Integers) -> list[Integers]:
    """The first folds of the documents, as many as hold `HELD_OUT`."""
    folds = list(_folds(y))
    enough = int(np.searchsorted(np.cumsum([len(part) for part in folds]), HELD_OUT)) + 1
    return folds[:enough]


def _likeliest_scales(
    x: Any, y: Integers, documents: Integers, classes: int, Cs: Sequence[float], balanced: bool
) -> list[tuple[float, float]]:
    """For each C the `_likeliest_scale` of held-out ``documents``, scored by machines that have seen the others."""
    scores = [[np.zeros((0, classes), np.float32)] for _ in Cs]
    labels = [y[:0]]
    for part in _held_out(y[documents]):
        unseen, seen = documents[part], np.delete(documents, part)
        x_unseen, x_seen = x[unseen], x[seen]
        for C, of_parts in zip(Cs, scores, strict=True):
            weights, bias = _machine(x_seen, y[seen], classes, C, balanced, tolerance=0.1)  # twice as fast
            of_parts.append(x_unseen @ weights + bias)
        labels.append(y[unseen])
    return [_likeliest_scale(np.concatenate(of_parts), np.concatenate(labels)) for of_parts in scores]


def affordable(corpus: TokenCorpus, classes: int) -> Integers:
    """The documents that a model is fitted to, ascending: all, or a random part that bounds memory and time."""
    most = min(MAX_TOKENS, max(MAX_WORK // classes, ENOUGH_TOKENS))
    order = np.random.default_rng(0).permutation(len(corpus))
    return np.sort(order[corpus.lengths[order].cumsum() <= most])


def count_features(counts: "Counter[int]", ids: Iterable[int], before: int | None) -> int | None:
    """Add the features of further tokens ``ids`` of a document to its ``counts``.

    before: the token before them, None at the document's beginning; returns it for the next call.
    """
    for token in ids:
        counts[token] += 1
        if before is not None:
            counts[(before + 1) * PAIR + token] += 1
        before = token
    return before


def _parts(corpus: TokenCorpus) -> Iterable[TokenCorpus]:
    """The documents in their order, about `AT_ONCE` tokens at a time; at least one part, if an empty one."""
    part = (corpus.lengths.cumsum() - corpus.lengths) // AT_ONCE
    return map(corpus.select, np.split(np.arange(len(corpus)), np.flatnonzero(np.diff(part)) + 1))


def _counted(corpus: TokenCorpus) -> tuple[Integers, Entries]:
    """The features of these documents, ascending [F], and how often each document has each (N, F)."""
    rows = np.repeat(np.arange(len(corpus)), corpus.lengths)
    shift = corpus.starts - corpus.lengths.cumsum() + corpus.lengths  # from the flat position here to that in `tokens`
    ids = corpus.table[corpus.tokens[np.arange(len(rows)) + shift[rows]]].astype(np.int64)
    together = rows[1:] == rows[:-1]
    pairs = (ids[:-1] + 1) * PAIR + ids[1:]
    features, where = np.unique(np.concatenate([ids, pairs[together]]), return_inverse=True)
    rows = np.concatenate([rows, rows[1:][together]])
    entries, counts = np.unique(rows * len(features) + where, return_counts=True)
    rows, columns = np.divmod(entries, max(len(features), 1))
    return features, Entries(rows.astype(np.int32), columns.astype(np.int32), counts.astype(np.float32), len(corpus))


def _frequent(counted: Sequence[tuple[Integers, Entries]], classes: int) -> tuple[Integers, Integers]:
    """Of the features of all parts those that are kept, ascending [F], and in how many documents each is [F]."""
    every, where = np.unique(np.concatenate([features for features, _ in counted]), return_inverse=True)
    of_parts = [np.bincount(counts.columns, minlength=len(features)) for features, counts in counted]
    documents_with = np.bincount(where, np.concatenate(of_parts), minlength=len(every)).astype(np.int64)
    kept = np.flatnonzero(documents_with >= min(MIN_DOCUMENTS, sum(counts.height for _, counts in counted)))
    order = np.argsort(-documents_with[kept], kind="stable")
    kept = np.sort(kept[order[: min(MAX_FEATURES, MAX_WEIGHTS // classes)]])
    return every[kept], documents_with[kept]


def _aligned(features: Integers, counts: Entries, among: Integers) -> Entries:
    """``counts`` (N, F) of ascending ``features`` as counts of the ascending features ``among``, as far as there."""
    where = np.searchsorted(among, features).astype(np.int32)
    where[where == len(among)] = 0
    there = among[where] == features if len(among) else np.zeros(len(features), bool)
    kept = there[counts.columns]
    columns = where[counts.columns[kept]]
    return Entries(counts.rows[kept], columns, counts.values[kept], counts.height)


def _tf_idf(counts: Entries, idf: Floats) -> Entries:
    values = (1 + np.log(counts.values)) * idf[counts.columns]
    length = np.sqrt(np.bincount(counts.rows, values**2, counts.height)).astype(np.float32)
    return replace(counts, values=values / length[counts.rows])


def _machine(
    x: Any, y: Integers, classes: int, C: float, balanced: bool, tolerance: float = 1e-4
) -> tuple[Floats, Floats]:
    """Weights [F, C] and bias [C] of a support vector machine; two classes get half its one score each."""
    from sklearn.svm import LinearSVC

    there = np.unique(y)
    weights, bias = np.zeros((x.shape[1], classes), np.float32), np.full(classes, -1.0, np.float32)
    if len(there) < 2 or not x.shape[1]:
        bias[there] = 1.0
        return weights, bias
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it has not converged: the scores are good long before
        weight = "balanced" if balanced else None
        machine = LinearSVC(C=C, tol=tolerance, class_weight=weight, random_state=0).fit(x, y)
    if len(there) == 2:
        weights[:, there] = machine.coef_.T / 2 * [-1, 1]
        bias[there] = machine.intercept_ / 2 * [-1, 1]
    else:
        weights[:, there], bias[there] = machine.coef_.T, machine.intercept_
    return weights, bias


def _folds(y: Integers) -> Iterable[Integers]:
    """The documents of each part, every class spread over all parts."""
    order = np.random.default_rng(0).permutation(len(y))
    order = order[np.argsort(y[order], kind="stable")]
    return (part for fold in range(FOLDS) if len(part := order[fold::FOLDS]))


def _likeliest_scale(scores: Floats, y: Integers) -> tuple[float, float]:
    """The number that times ``scores`` [N, C] makes the classes ``y`` [N] likeliest, by their softmax, and the loss."""
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    def surprise(log_scale: float) -> float:
        return -float(log_softmax(np.exp(log_scale) * scores.astype(float), axis=1)[np.arange(len(y)), y].mean())

    if not len(y):
        return 1.0, 0.0
    found = minimize_scalar(surprise, bounds=(-3.0, 4.0), method="bounded")
    return float(np.exp(found.x)), float(found.fun)
