"""The keys of `data.*` and `text.*`: their types, units and reasons.

One dataclass for each kind of source, over the keys that all sources share. A source's own keys are the arguments of
the class that ``_target_`` names. `SCHEMAS` lists all of them for the config store.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from omegaconf import MISSING

from unrolled.errors import UserError


@dataclass
class DataConfig:
    """Keys of every source: how its documents are split and cut (`data.*` on the command line)."""

    _target_: str = MISSING  # the class of the source, built from the keys that are not listed here
    valid_share: float = (
        0.1  # part of train that becomes validation, stratified, drawn with the run's seed; if none is given
    )
    test_share: float = 0.2  # part of train that becomes test, stratified, the same for every seed; if none is given
    fold: int | None = (
        None  # cross-validation: test on this part of train, 0 to folds - 1, and leave a given test set alone
    )
    folds: int = 5  # parts that `fold` counts
    limit: int | None = None  # at most this many documents in each of train, valid and test (for a quick try)
    max_tokens: int | None = None  # longest document, in tokens; what is over is cut off; None reads all
    cut: str = "head"  # what is kept of longer ones: head, tail, or head+tail (first quarter, last three quarters)
    cut_test: bool = True  # whether validation and test documents are cut too, or read whole
    cache_dir: str | None = None  # where data are kept; None: $UNROLLED_CACHE, or .cache/unrolled in the project

    def __post_init__(self) -> None:
        for key in ("valid_share", "test_share"):
            if not 0 < getattr(self, key) < 1:
                raise UserError(f"data.{key} must lie between 0 and 1, got {getattr(self, key)}")
        for key in ("limit", "max_tokens"):
            value = getattr(self, key)
            if value is not None and value < 1:
                raise UserError(f"data.{key} must be at least 1, or null for no limit, got {value}")
        if self.folds < 2:
            raise UserError(f"data.folds must be at least 2, got {self.folds}")
        if self.fold is not None and not 0 <= self.fold < self.folds:
            raise UserError(
                f"data.fold must lie between 0 and data.folds - 1 = {self.folds - 1}, or be null, got {self.fold}"
            )
        if self.cut not in ("head", "tail", "head+tail"):
            raise UserError(f"data.cut must be head, tail or head+tail, got {self.cut!r}")

    def source_arguments(self) -> dict[str, Any]:
        """``_target_`` and the arguments of the source's constructor: all keys that are not common to all sources."""
        common = {field.name for field in fields(DataConfig)} - {"_target_"}
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name not in common}


@dataclass
class OrangeTablesConfig(DataConfig):
    """A built-in corpus."""

    _target_: str = "unrolled.data.sources.orange.OrangeTables"
    corpus: str = MISSING  # newsgroups, reuters_r8, reuters_r52, election_tweets or book_excerpts


@dataclass
class FileConfig(DataConfig):
    """Tables in files: a row is a document."""

    train: str | None = (
        None  # must be given: file with training documents, or with all of them if no other file is given
    )
    valid: str | None = None  # file with validation documents; None splits them off train
    test: str | None = None  # file with test documents; None splits them off train
    text_column: Any = None  # name or number (from 1), or a list of them, joined by blanks; None: a common name
    label_column: Any = None  # name or number (from 1) of the class; None: a common name such as label
    empty: str = "keep"  # blank texts: keep (a document without tokens) or drop
    bad_rows: str = "stop"  # rows that cannot be used, such as one without a label: stop or drop

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.train is None:
            raise UserError(
                "data.train is not set: it names the file with the training documents, as data.train=my.csv"
            )


@dataclass
class CsvConfig(FileConfig):
    """CSV and TSV files, plain or gzipped."""

    _target_: str = "unrolled.data.sources.csv_files.CsvFiles"
    delimiter: str | None = None  # one character or tab; None finds comma, tab, semicolon or bar
    quoting: bool = True  # double quotes enclose fields; false: they are characters like others
    header: bool = True  # the first record names the columns; false: they are numbered from 1
    encoding: str | None = None  # None finds UTF-8, UTF-16 and UTF-32


@dataclass
class JsonlConfig(FileConfig):
    """Files with a JSON object on each line."""

    _target_: str = "unrolled.data.sources.jsonl.JsonlFiles"
    encoding: str | None = None  # None finds UTF-8, UTF-16 and UTF-32


@dataclass
class ParquetConfig(FileConfig):
    """Parquet files (extra ``parquet``)."""

    _target_: str = "unrolled.data.sources.parquet.ParquetFiles"


@dataclass
class FolderConfig(DataConfig):
    """One directory for each class, one file for each document."""

    _target_: str = "unrolled.data.sources.folder.Folder"
    train: str | None = None  # must be given: directory that holds one directory for each class
    valid: str | None = None  # the same for validation; None splits it off train
    test: str | None = None  # the same for test; None splits it off train
    encoding: str | None = None  # of all files; None finds UTF-8, UTF-16 and UTF-32
    empty: str = "keep"  # blank files: keep (a document without tokens) or drop
    bad_rows: str = "stop"  # files that are no text: stop or drop

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.train is None:
            raise UserError("data.train is not set: it names the directory that holds one directory for each class")


@dataclass
class HuggingFaceConfig(DataConfig):
    """A data set of the Hugging Face hub or its library (extra ``hub``)."""

    _target_: str = "unrolled.data.sources.huggingface.HuggingFace"
    path: str | None = None  # must be given: name on the hub, or a local directory
    subset: str | None = None  # configuration, where the data set has several
    revision: str | None = None  # branch, tag or commit
    train: str = "train"  # names of its splits; valid and test are split off train where they do not exist or are null
    valid: str | None = "validation"
    test: str | None = "test"
    text_column: Any = None  # name or number (from 1), or a list of them, joined by blanks; None: a common name
    label_column: Any = None  # name or number (from 1) of the class; None: a common name such as label

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.path is None:
            raise UserError("data.path is not set: it names a data set of the hub, as stanfordnlp/imdb, or a directory")


@dataclass
class TorchtextSetConfig(DataConfig):
    """A classification set of torchtext 0.18, in its own environment (`make setup-torchtext`)."""

    _target_: str = "unrolled.data.sources.torchtext_sets.TorchtextSet"
    name: str = "AG_NEWS"  # in torchtext.datasets
    root: str | None = None  # directory of its files; None: torchtext's own
    train: str = "train"  # names of its splits; null splits valid or test off train
    valid: str | None = None
    test: str | None = "test"


@dataclass
class RecallConfig(DataConfig):
    """Generated: the class is the first token, noise follows."""

    _target_: str = "unrolled.data.sources.generated.Recall"
    length: int = 50  # tokens of noise
    classes: int = 10  # symbols, each a class
    noise: str = "same"  # symbols as the classes'; other: its own, easier to tell apart
    train: int = 5000  # documents
    test: int = 1000  # documents
    seed: int = 0  # of the documents; not that of the run


@dataclass
class ListOpsConfig(DataConfig):
    """Generated: nested operations on digits (Nangia & Bowman, 2018)."""

    _target_: str = "unrolled.data.sources.generated.ListOps"
    min_length: int = 5  # tokens of an expression
    max_length: int = 100  # tokens of an expression
    max_depth: int = 20  # of nested operators
    max_args: int = 5  # most arguments of an operator
    train: int = 20_000  # documents
    test: int = 2_000  # documents
    seed: int = 0  # of the documents; not that of the run


@dataclass
class TextConfig:
    """How texts become token ids (`text.*` on the command line)."""

    kind: str = "words"  # words (basic_english), whitespace, characters, bytes, bpe or unigram
    normalization: str | None = None  # Unicode form that texts are brought into first: NFC, NFD, NFKC, NFKD
    max_size: int | None = (
        None  # most entries of the vocabulary, <pad> and <unk> included; None keeps all (bpe, unigram: 8,000)
    )
    min_count: int = 1  # types rarer than this in train are <unk>
    vectors: str | None = None  # text file of pretrained vectors (GloVe, word2vec, fastText); None learns them
    freeze_vectors: bool = False  # whether pretrained vectors stay as they are

    def __post_init__(self) -> None:
        if self.max_size is not None and self.max_size < 3:
            raise UserError(f"text.max_size must be at least 3 (<pad>, <unk> and one token), got {self.max_size}")
        if self.min_count < 1:
            raise UserError(f"text.min_count must be at least 1, got {self.min_count}")


@dataclass
class TorchtextTextConfig(TextConfig):
    """torchtext 0.18 as the backend, in its own environment (`make setup-torchtext`)."""

    kind: str = "torchtext"
    tokenizer: str = "basic_english"  # name in torchtext.data.utils.get_tokenizer


#: Group of the config store -> name -> dataclass.
SCHEMAS: dict[str, dict[str, type]] = {
    "schema/data": {
        "orange_tables": OrangeTablesConfig,
        "csv": CsvConfig,
        "jsonl": JsonlConfig,
        "parquet": ParquetConfig,
        "folder": FolderConfig,
        "huggingface": HuggingFaceConfig,
        "torchtext": TorchtextSetConfig,
        "recall": RecallConfig,
        "listops": ListOpsConfig,
    },
    "schema/text": {"text": TextConfig, "torchtext": TorchtextTextConfig},
}
