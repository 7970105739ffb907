"""The classification sets of torchtext 0.18, in the environment that it needs (`make setup-torchtext`)."""

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unrolled.data.sources.source import SPLITS, Document, Notes, Source
from unrolled.data.torchtext_text import import_torchtext
from unrolled.errors import UserError
from unrolled.files import sha256, user_path

#: Sets for classification; those not named here with a form give the class first and then one or two texts.
NAMES = (
    "AG_NEWS", "AmazonReviewFull", "AmazonReviewPolarity", "CoLA", "DBpedia", "IMDB", "MNLI", "MRPC", "QNLI", "QQP",
    "RTE", "SogouNews", "SST2", "WNLI", "YahooAnswers", "YelpReviewFull", "YelpReviewPolarity",
)  # fmt: skip
FORMS = {"SST2": (1, (0,)), "CoLA": (1, (2,))}  # index of the class, indices of the texts


@dataclass
class TorchtextSet(Source):
    """A data set of ``torchtext.datasets``; two texts of a pair are joined by a blank.

    conf/data/torchtext.yaml says what the arguments mean. Raises UserError where torchtext is not there, and for a name
    or a split that it does not have.
    """

    name: str = "AG_NEWS"
    root: str | None = None
    train: str = "train"
    valid: str | None = None
    test: str | None = "test"

    def __post_init__(self) -> None:
        torchtext = import_torchtext("data=torchtext")
        if self.name not in NAMES:
            raise UserError(f"data.name must be one of {', '.join(NAMES)}, got {self.name!r}")
        self._load = getattr(torchtext.datasets, self.name)
        default = inspect.signature(self._load).parameters["root"].default
        self.directory = user_path(self.root or default, "data.root")
        offered = inspect.signature(self._load).parameters["split"].default
        offered = (offered,) if isinstance(offered, str) else tuple(offered)
        self.names = {split: given for split in SPLITS if (given := getattr(self, split))}
        for split, given in self.names.items():
            if given not in offered:
                raise UserError(
                    f"data.{split}={given}: {self.name} of torchtext has the splits {', '.join(offered)}; choose one"
                )

    def fetch(self, cache_dir: Path) -> None:
        """Let torchtext download what is not in its directory, by reading the first document of each split."""
        for split in self.names:
            next(self._items(split), None)

    def splits(self) -> tuple[str, ...]:
        return tuple(self.names)

    def where(self, split: str) -> str:
        return f"{self.name}[{self.names[split]}]"

    def fingerprint(self) -> dict[str, Any]:
        directory = self.directory / "datasets" / self.name
        files = sorted(file for file in directory.rglob("*") if file.is_file() and file.suffix != ".lock")
        hashes = {str(file.relative_to(directory)): sha256(file) for file in files}
        return {"reader": "TorchtextSet", "name": self.name, "files": hashes, "splits": self.names}

    def documents(self, split: str, notes: Notes) -> Iterator[Document]:
        label, texts = FORMS.get(self.name, (0, None))
        for record, item in enumerate(self._items(split), start=1):
            chosen = texts or tuple(range(1, len(item)))
            if len(item) <= max(label, *chosen):
                raise UserError(
                    f"{self.where(split)}, record {record}: there is no label; set data.{split} to another "
                    f"split, or to null"
                )
            yield Document(" ".join(str(item[index]) for index in chosen), str(item[label]), record)

    def _items(self, split: str) -> Iterator[tuple[Any, ...]]:
        try:
            yield from self._load(root=str(self.directory), split=self.names[split])
        except UserError:
            raise
        except Exception as error:  # torchtext raises whatever its pipes and the network do
            reason = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
            raise UserError(
                f"{self.where(split)} could not be read or downloaded by torchtext ({type(error).__name__}: {reason}); "
                f"check the network, or put its files into {self.directory / 'datasets' / self.name}"
            ) from error
