"""Recipes: from the size of a corpus to values for all keys that are `auto`.

The rule, whose numbers stand in conf/recipe/:

* Batches are so large, a power of two, that an epoch has about ``batches`` of them: few documents make small batches,
  or there would be too few optimizer steps.
* Training ends where ``patience`` documents have been read without a lower validation loss.
* At most there are so many epochs that ``documents`` are read in all, from ``fewest_epochs`` to ``most_epochs``; as
  many as ``tokens`` allow, if that is less, but at least ``passes``. The schedule does not look at this number.
* The learning rate is ``lr``, and for fewer than ``lr_documents`` documents it falls with the square root of their
  number.
* Words are dropped unless the vocabulary has no more than ``few_types`` entries, as of characters or digits.
"""

import math
import textwrap
from dataclasses import dataclass
from typing import Any

import numpy as np
from omegaconf import DictConfig, OmegaConf, open_dict

from unrolled.arguments import Count
from unrolled.config import undecided
from unrolled.data.prepare import PreparedData
from unrolled.errors import UserError
from unrolled.train.build import build


@dataclass(frozen=True)
class Statistics:
    """Sizes of a corpus, from which a recipe decides. Numbers of documents are those of train."""

    documents: int
    tokens: int
    types: int  # entries of the vocabulary

    @classmethod
    def of(cls, prepared: PreparedData) -> "Statistics":
        """Counts rounded to two digits, and lengths of train and validation together.

        So the seed, which draws the validation documents, and the fold decide nothing, except in a rare case.
        """
        lengths = np.concatenate([prepared.train.lengths, prepared.valid.lengths])
        documents = _two_digits(len(prepared.train))
        return cls(
            documents=documents,
            tokens=_two_digits(documents * lengths.mean()),
            types=_two_digits(len(prepared.vocabulary)),
        )


@dataclass(frozen=True)
class Recipe:
    """The rule above with its numbers; conf/recipe/auto.yaml says what each is."""

    batches: Count
    smallest_batch: int
    largest_batch: int
    documents: Count
    fewest_epochs: int
    most_epochs: int
    tokens: int | None
    passes: Count
    patience: int | None
    shortest_patience: int
    longest_patience: int
    lr: float
    lr_documents: Count
    smallest_lr: float
    decay: float
    embedding_dropout: float
    word_dropout: float
    few_types: int
    head_dropout: float

    def __post_init__(self) -> None:
        for low, high in (
            ("smallest_batch", "largest_batch"),
            ("fewest_epochs", "most_epochs"),
            ("shortest_patience", "longest_patience"),
            ("smallest_lr", "lr"),
        ):
            if not 0 < getattr(self, low) <= getattr(self, high):
                raise ValueError(
                    f"{low}={getattr(self, low)}: more than 0 and at most {high}, which is {getattr(self, high)}"
                )

    def choose(self, corpus: Statistics) -> dict[str, Any]:
        """A value for every key that may be `auto`."""
        return {
            "tbptt.batch_size": self._batch_size(corpus),
            "trainer.max_epochs": self._epochs(corpus),
            "callbacks.early_stopping.patience": self._patience(corpus),
            "optimizer.lr": self._lr(corpus),
            "callbacks.averaging.decay": self.decay,
            "embedding.dropout": self.embedding_dropout,
            "embedding.word_dropout": self.word_dropout if corpus.types > self.few_types else 0.0,
            "pooling.dropout": self.head_dropout,
        }

    def _batch_size(self, corpus: Statistics) -> int:
        power: int = 2 ** round(math.log2(max(corpus.documents / self.batches, 1)))
        return min(max(power, self.smallest_batch), self.largest_batch)

    def _epochs(self, corpus: Statistics) -> int:
        wanted = min(max(-(-self.documents // corpus.documents), self.fewest_epochs), self.most_epochs)
        if self.tokens is None:
            return wanted
        return min(wanted, max(self.tokens // max(corpus.tokens, 1), self.passes))

    def _patience(self, corpus: Statistics) -> int | None:
        if self.patience is None:
            return None
        return min(max(-(-self.patience // corpus.documents), self.shortest_patience), self.longest_patience)

    def _lr(self, corpus: Statistics) -> float:
        share = min(corpus.documents / self.lr_documents, 1.0)
        return max(float(f"{self.lr * math.sqrt(share):.2g}"), self.smallest_lr)


def decide(config: DictConfig, corpus: Statistics) -> dict[str, Any]:
    """Put the values that its recipe chooses in place of each `auto` in ``config``, and null in place of the recipe.

    Returns keys and values. What is left is a config as if all values had been typed.
    """
    waiting = undecided(config)
    recipe = build("recipe", config.recipe)
    values = recipe.choose(corpus) if waiting else {}
    for key in waiting:
        if key not in values:
            raise UserError(f"{key}=auto: recipe._target_={config.recipe._target_} does not decide it; give a value")
        OmegaConf.update(config, key, values[key])
    with open_dict(config):
        config.recipe = None
    return {key: values[key] for key in waiting}


def described(name: str, decided: dict[str, Any]) -> str:
    """What recipe ``name`` has decided, each value with the key that changes it, in lines of at most 80 characters."""
    patience = decided.get("callbacks.early_stopping.patience")
    words = {
        "tbptt.batch_size": "batches of {} documents",
        "trainer.max_epochs": "at most {} epochs",
        "callbacks.early_stopping.patience": "no early stopping"
        if patience is None
        else "ends after {} epochs without a lower validation loss",
        "optimizer.lr": "learning rate {}",
    }
    parts = [f"{words[key].format(value)} ({key})" for key, value in decided.items() if key in words]
    parts += [f"{key} {value}" for key, value in decided.items() if key not in words]
    return textwrap.fill(f"recipe {name}: {', '.join(parts)}", 80, subsequent_indent="  ", break_on_hyphens=False)


def _two_digits(number: float) -> int:
    return int(float(f"{number:.2g}"))
