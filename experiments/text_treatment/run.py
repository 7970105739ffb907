"""Study of what becomes of a text before it is read. Run: python experiments/text_treatment/run.py [FILE.csv ...]

A linear classifier on TF-IDF of tokens and pairs of tokens is trained on what each treatment makes of the training
documents: a stand-in for the recurrent ones that takes seconds, so that small differences can be told from chance.
"""

import argparse
import re
import statistics
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import sklearn
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.model_selection import RepeatedStratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC

from unrolled.data.config import TextConfig, data_config
from unrolled.data.prepare import prepare
from unrolled.data.sources.build import build_source
from unrolled.data.sources.source import Notes, numbered
from unrolled.data.tokenizer import build_tokenizer
from unrolled.files import cache_directory
from unrolled.studies.study import Report, run_study
from unrolled.studies.table import StudyTable

CORPORA = ("election_tweets", "book_excerpts", "reuters_r8", "reuters_r52", "newsgroups")
DOCUMENTS = 2_000  # a smaller corpus is cross-validated twice

URL = re.compile(r"(?:https?://|www\.)\S+")
EMOTICON = re.compile(r"(?<!\w)(?:[:;=8][-^'o]?[)(\]\[DPp/\\|*3]|<3|\^_?\^|[xX]D)(?!\w)")
NUMBER = re.compile(r"(?<!\w)\d+(?:[.,:]\d+)*")
NOT = re.compile(r"n['\u2019]t\b", re.IGNORECASE)
INSIDE = re.compile(r"(?<=\w)['\u2019](?=\w)")
NEGATIONS = {"not", "no", "never", "cannot", "nt"}

wordpunct = build_tokenizer("wordpunct")


def emoticons(text: str) -> list[str]:
    """Each emoticon one token."""
    ends = [0, *(end for match in EMOTICON.finditer(text) for end in match.span()), len(text)]
    parts = [text[begin:end] for begin, end in pairwise(ends)]
    return [token for i, part in enumerate(parts) for token in ([part] if i % 2 else wordpunct(part))]


def negated(text: str) -> list[str]:
    """Words after a negation are others, up to the next mark (Das & Chen 2001; Pang et al. 2002)."""
    tokens, inside = [], False
    for word in wordpunct(NOT.sub(" nt", text)):
        inside = inside and word not in ".,:;!?"
        tokens.append(f"not_{word}" if inside else word)
        inside = inside or word in NEGATIONS
    return tokens


def cased(text: str) -> list[str]:
    """Capitals kept: each token as it stands in the text."""
    tokens, begin, lower = [], 0, text.lower()
    if len(lower) != len(text):  # a few letters have two in lower case
        return wordpunct(text)
    for token in wordpunct(text):
        begin = lower.index(token, begin)
        tokens.append(text[begin : begin + len(token)])
        begin += len(token)
    return tokens


#: All but the first begin with `wordpunct`, with which they are compared.
TREATMENTS: dict[str, Callable[[str], list[str]]] = {
    "words": build_tokenizer("words"),
    "wordpunct": wordpunct,
    "digits 0": lambda text: wordpunct(re.sub(r"\d", "0", text)),
    "numbers one": lambda text: wordpunct(NUMBER.sub(" number_ ", text)),
    "URLs one": lambda text: wordpunct(URL.sub(" url_ ", text)),
    "emoticons": emoticons,
    "don't whole": lambda text: wordpunct(INSIDE.sub("_", text)),
    "do n't": lambda text: wordpunct(NOT.sub(" n_t", text)),
    "not_word": negated,
    "capitals": cased,
}


@dataclass(frozen=True)
class Row:
    """One treatment of one corpus."""

    data: str
    documents: int
    treatment: str
    changed: float  # share of the documents whose tokens are not those of wordpunct
    accuracy: float  # mean of the folds
    gain: float  # over wordpunct, in the same folds
    error: float  # standard error of the gain over the folds


def training_texts(data: str) -> tuple[list[str], list[str]]:
    """Texts and classes of the documents of train (with validation); test is never looked at."""
    target = {"_target_": "unrolled.data.sources.orange.OrangeTables", "corpus": data}
    if data.endswith(".csv"):
        target = {"_target_": "unrolled.data.sources.files.CsvFiles", "train": data}
    config = data_config(**target)
    prepared = prepare(config, TextConfig(), seed=0)
    source = build_source(config.source)
    source.fetch(cache_directory(None))
    ours = {*prepared.train.ids.tolist(), *prepared.valid.ids.tolist()}
    chosen = [each for each in numbered(source.documents("train", Notes())) if each.record in ours]
    return [each.text for each in chosen], [each.label for each in chosen]


def with_pairs(tokens: list[str]) -> list[str]:
    """The tokens, and each two neighbours."""
    return tokens + [f"{one} {two}" for one, two in pairwise(tokens)]


def measure(data: str, limit: int | None = None) -> Iterable[Row]:
    """All treatments of one corpus; one that changes no text is not trained."""
    texts, labels = (column[:limit] for column in training_texts(data))
    classifier = make_pipeline(TfidfVectorizer(analyzer=with_pairs, sublinear_tf=True), LinearSVC())
    folds = RepeatedStratifiedKFold(n_splits=5, n_repeats=1 if len(texts) > DOCUMENTS else 2, random_state=0)
    plain = [wordpunct(text) for text in texts]
    base = cross_val_score(classifier, plain, labels, cv=folds)
    for name, treatment in TREATMENTS.items():
        tokens = [treatment(text) for text in texts]
        changed = statistics.fmean(one != other for one, other in zip(tokens, plain, strict=True))
        scores = cross_val_score(classifier, tokens, labels, cv=folds) if changed else base
        gain = scores - base
        error = float(np.std(gain, ddof=1)) / len(gain) ** 0.5
        yield Row(Path(data).stem, len(texts), name, changed, float(scores.mean()), float(gain.mean()), error)


def table(rows: Sequence[Row]) -> StudyTable:
    """A line per corpus: accuracy with wordpunct, and the points that each other treatment wins or loses."""
    others = [name for name in TREATMENTS if name != "wordpunct"]
    lines = []
    for data in dict.fromkeys(row.data for row in rows):
        own = {row.treatment: row for row in rows if row.data == data}
        cells = [
            f"{100 * own[name].gain:+.1f} ± {100 * own[name].error:.1f}" if own[name].changed else "" for name in others
        ]
        lines.append([data, f"{own['wordpunct'].documents:,}", f"{100 * own['wordpunct'].accuracy:.1f}", *cells])
    gains = [[row.gain for row in rows if row.treatment == name and row.changed] for name in others]
    means = [f"{100 * statistics.fmean(each):+.2f}" if each else "" for each in gains]
    return StudyTable(["data", "documents", "wordpunct, %", *others], [*lines, ["mean", "", "", *means]])


def study(arguments: argparse.Namespace) -> Report:
    """Measure and report."""
    warnings.filterwarnings("ignore", "The least populated class")  # Reuters R52 has classes of one or two documents
    corpora, limit = (CORPORA[:1], 300) if arguments.quick else ((*CORPORA, *arguments.files), None)
    rows = [row for data in corpora for row in measure(str(data), limit)]
    text = (
        f"Made with scikit-learn {sklearn.__version__}: five folds of the training documents, in corpora of up to "
        f"{DOCUMENTS:,} of two shuffles; accuracy with wordpunct, and points above it in the same folds ± their "
        "standard error; empty where no text changes, and not in the mean then."
    )
    return Report(table(rows), rows, text)


if __name__ == "__main__":
    run_study(
        __file__,
        study,
        description="Accuracy of a linear classifier against the treatment of numbers, URLs, marks and capitals.",
        quick="300 tweets",
        trains=False,
        files="CSV files of one's own (text and class), measured after the built-in corpora",
    )
