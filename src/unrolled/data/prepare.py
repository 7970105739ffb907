"""Preparation of a run's data: three tokenized splits, a vocabulary, and a summary of what they look like."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unrolled.data.cache import Numbering, label_order, ranks_in, token_cache
from unrolled.data.config import DataConfig, TextConfig
from unrolled.data.corpus import Integers, TokenCorpus
from unrolled.data.extras import require_extra
from unrolled.data.sources.build import build_source
from unrolled.data.sources.source import Notes, Source, numbered
from unrolled.data.split import folds, group_folds, split_off, split_off_groups, stratified_sample
from unrolled.data.subword import trained_subword
from unrolled.data.summary import find_warnings, is_number, summarise
from unrolled.data.text_choice import AUTO, BY_BLANKS, choose_text
from unrolled.data.tokenizer import TRAINED, Tokenizer, build_tokenizer
from unrolled.data.torchtext_text import TorchtextTokenizer, torchtext_vocabulary
from unrolled.data.vectors import Vectors, coverage, read_vectors
from unrolled.data.vocabulary import Vocabulary, choose_types
from unrolled.errors import UserError
from unrolled.files import cache_directory

TEST_SEED = 0  # test sets and folds are the same whatever seed a run has, so that runs can be compared
MARKS = 10  # classes that may be numbers however few documents there are, as marks from 1 to 10


@dataclass(frozen=True)
class PreparedData:
    """Three splits of one data set over one vocabulary."""

    name: str
    train: TokenCorpus
    valid: TokenCorpus
    test: TokenCorpus
    vocabulary: Vocabulary
    labels: list[str]  # names of the classes, exactly as given; the index is the class in `TokenCorpus.labels`
    tokenizer: Tokenizer  # its `state()` is what a checkpoint keeps for prediction
    vectors: Vectors | None  # pretrained, for the embedding, where `text.vectors` names a file
    summary: dict[str, Any]  # what `data.summary.summary_table` shows; plain values

    @property
    def class_counts(self) -> NDArray[np.int64]:
        """Training documents of each class, [C]."""
        return np.bincount(self.train.labels, minlength=len(self.labels))


def prepare(data: DataConfig, text: TextConfig, seed: int, cache_dir: str | Path | None = None) -> PreparedData:
    """Fetch, tokenise (both only once), split, and choose the vocabulary.

    seed: draws the validation set; cache_dir: where data are kept; None: ``data.cache_dir``, else the default of the
    project. What looks wrong with the data is among the ``warnings`` of the summary.

    Raises UserError with what is wrong with the configuration, the files, or the room on the disk.
    """
    directory = cache_directory(cache_dir or data.cache_dir)
    source = build_source(data.source)
    untrained = _untrained_tokenizer(text)
    source.fetch(directory)
    suits = choose_text(source)[0] if text.kind in (AUTO, *BY_BLANKS) else text.kind
    if text.kind == AUTO:
        text = replace(text, kind=suits)
        untrained = _untrained_tokenizer(text)
    tokenizer = untrained or _train_tokenizer(source, data, text, seed, directory)
    cache = token_cache(source, tokenizer, directory)
    parts = uncut = _choose(cache.splits, cache.labels, source, data, seed)
    if data.max_tokens is not None:
        parts = {
            name: part.truncated(data.max_tokens, data.cut) if name == "train" or data.cut_test else part
            for name, part in parts.items()
        }

    counts = {name: part.type_counts() for name, part in parts.items()}
    if not counts["train"].any():
        raise UserError(f"no training document of {source.name} has any token with text={text.kind}; check the column")
    if text.kind == "torchtext":
        vocabulary, table = torchtext_vocabulary(cache.types, counts["train"], text.max_size, text.min_count)
    else:
        vocabulary, table = choose_types(cache.types, counts["train"], text.max_size, text.min_count)
    parts = {name: replace(part, table=table) for name, part in parts.items()}
    summary = summarise(source.name, parts, uncut, cache, counts, vocabulary, tokenizer)
    vectors = None
    if text.vectors is not None:
        vectors = read_vectors(text.vectors, vocabulary)
        known = np.bincount(table, weights=counts["train"], minlength=len(vocabulary)).astype(np.int64)
        summary["vectors"] = {"file": str(text.vectors)} | coverage(vectors, known)
    summary["warnings"] = find_warnings(summary, suits)
    return PreparedData(
        source.name,
        **parts,
        vocabulary=vocabulary,
        labels=cache.labels,
        tokenizer=tokenizer,
        vectors=vectors,
        summary=summary,
    )


def _untrained_tokenizer(text: TextConfig) -> Tokenizer | None:
    """The tokenizer that ``text`` asks for, None if it is to be trained or chosen first."""
    if text.kind == AUTO:
        return None
    if text.kind in TRAINED:
        require_extra("tokenizers", "subword", f"text={text.kind}")
        return None
    if text.kind == "torchtext":
        return TorchtextTokenizer(text.tokenizer, text.normalization)
    return build_tokenizer(text.kind, text.normalization)


def _train_tokenizer(source: Source, data: DataConfig, text: TextConfig, seed: int, directory: Path) -> Tokenizer:
    """The subword tokenizer, trained on the documents that will be train: neither validation nor test is looked at."""
    chosen = {key: getattr(data, key) for key in ("valid_share", "valid_part", "test_share", "fold", "folds", "limit")}
    depends_on = {"source": source.fingerprint(), "splits": chosen | {"seed": seed}}

    def texts() -> Iterator[str]:
        labels, groups = Numbering(), Numbering()
        given = {}
        for split in source.splits():
            found = [
                (labels[document.label], document.record, groups[document.group] if document.group else -1)
                for document in numbered(source.documents(split, Notes()))
            ]
            given[split] = np.array(found, dtype=np.int64).reshape(-1, 3)
        names = sorted(labels, key=label_order)
        rank = ranks_in(labels, names)  # classes are numbered as the cache will number them
        parts = {split: _labels_only(rank[found[:, 0]], found[:, 1], found[:, 2]) for split, found in given.items()}
        train = set(_choose(parts, names, source, data, seed)["train"].ids.tolist())
        for document in numbered(source.documents("train", Notes())):
            if document.record in train:
                yield document.text

    return trained_subword(text.kind, texts(), text.max_size, text.normalization, depends_on, directory)


def _labels_only(labels: Integers, records: Integers, groups: Integers) -> TokenCorpus:
    """Documents whose tokens are not known yet: enough to split them."""
    nothing = np.zeros(len(labels), dtype=np.int64)
    some = groups if (groups >= 0).any() else None
    return TokenCorpus(np.zeros(0, np.uint8), np.zeros(0, np.int32), nothing, nothing, labels, records, some)


def _choose(
    given: dict[str, TokenCorpus], labels: list[str], source: Source, data: DataConfig, seed: int
) -> dict[str, TokenCorpus]:
    """Train, valid and test as the configuration wants them, checked."""
    _check(given, labels, source)
    parts = _split(given, data, seed)
    if data.limit is not None:
        if data.limit < len(labels):
            raise UserError(
                f"data.limit={data.limit} would keep fewer documents than {source.name} has classes ({len(labels)}); "
                f"raise it"
            )
        parts = {
            name: part.select(stratified_sample(part.labels, data.limit, TEST_SEED)) for name, part in parts.items()
        }
    for name, part in parts.items():
        if not len(part):
            raise UserError(
                f"{source.name} has too few documents: none is left for {name} (train {len(parts['train'])}, "
                f"valid {len(parts['valid'])}, test {len(parts['test'])}); give more documents, or raise "
                f"data.valid_share or data.test_share (a group of data.group_column is never divided)"
            )
    return parts


def _check(parts: dict[str, TokenCorpus], labels: list[str], source: Source) -> None:
    """Refuse what no classifier can be trained on."""
    documents = len(parts["train"])
    train = source.where("train")
    for split, part in parts.items():
        if not len(part):
            raise UserError(f"{source.where(split)} holds no documents (a header alone is none); give some")
    if len(labels) < 2:
        raise UserError(
            f"{train} has a single class, {_short(labels[0])}; a classifier needs at least two; check that the column "
            f"with the class is the right one"
        )
    if len(labels) > max(documents / 2, MARKS) and all(map(is_number, labels)):
        raise UserError(
            f"the classes in {train} look like measured numbers, such as {labels[0]} and {labels[-1]}: there are "
            f"{len(labels)} different ones in {documents} documents; set data.label_column to the column with the "
            f"class, or replace the numbers by few classes, as low and high"
        )
    counts = {split: np.bincount(part.labels, minlength=len(labels)) for split, part in parts.items()}
    for split, given in counts.items():
        for index in np.flatnonzero((given > 0) & (counts["train"] == 0)).tolist():
            where = int(parts[split].ids[parts[split].labels == index][0])
            raise UserError(
                f"class {_short(labels[index])} occurs in {source.where(split)} (first in record {where}) but "
                f"never in train ({train}), so it cannot be learnt; remove these documents, or add some of this class "
                f"to train"
            )
    if documents <= len(labels):
        raise UserError(
            f"{train} has {documents} documents for {len(labels)} classes: more documents than classes are needed; "
            f"check that the column with the class is the right one"
        )


def _short(name: str) -> str:
    """A name as it may stand in a sentence, however long it is."""
    return repr(name) if len(name) <= 60 else f"{name[:57]!r}..."


def _split(given: dict[str, TokenCorpus], data: DataConfig, seed: int) -> dict[str, TokenCorpus]:
    """Train, valid and test; what is not given is split off train."""
    train = given["train"]
    test = given.get("test")
    if data.fold is not None:
        if train.groups is None:
            held_out = folds(train.labels, data.folds, TEST_SEED)[data.fold]
        else:
            held_out = group_folds(train.labels, train.groups, data.folds, TEST_SEED)[data.fold]
        stay = np.ones(len(train), dtype=bool)
        stay[held_out] = False
        train, test = train.select(stay), train.select(held_out)
    elif test is None:
        train, test = _split_off(train, data.test_share, TEST_SEED)
    valid = given.get("valid")
    if valid is None:
        train, valid = _split_off(train, data.valid_share, seed, data.valid_part)
    return {"train": train, "valid": valid, "test": test}


def _split_off(train: TokenCorpus, share: float, seed: int, part: str = "random") -> tuple[TokenCorpus, TokenCorpus]:
    """What stays of train and what is split off, no group on both sides."""
    if train.groups is None:
        kept, off = split_off(train.labels, share, seed, part)
    elif part == "random":
        kept, off = split_off_groups(train.labels, train.groups, share, seed)
    else:
        raise UserError(f"data.valid_part={part}: whole groups (data.group_column) are drawn; leave it at random")
    return train.select(kept), train.select(off)
