"""The keys of `data.*` that all sources share, and those of `text.*`: their types and rules."""

from dataclasses import dataclass, field, fields
from typing import Any

from unrolled.errors import UserError


@dataclass
class DataConfig:
    """Which documents, and how they are split and truncated (`data.*` on the command line).

    conf/config.yaml says what each key means.
    """

    source: dict[str, Any] = field(default_factory=dict)  # `_target_`, a class of documents, and its arguments
    valid_share: float = 0.1
    valid_part: str = "random"
    test_share: float = 0.2
    fold: int | None = None
    folds: int = 5
    limit: int | None = None
    max_tokens: int | None = None
    cut: str = "head"
    cut_test: bool = True
    cache_dir: str | None = None

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
        if self.valid_part not in ("random", "first", "last"):
            raise UserError(f"data.valid_part must be random, first or last, got {self.valid_part!r}")
        if self.cut not in ("head", "tail", "head+tail"):
            raise UserError(f"data.cut must be head, tail or head+tail, got {self.cut!r}")


COMMON = tuple(each.name for each in fields(DataConfig) if each.name != "source")


def data_config(**keys: Any) -> DataConfig:
    """From the keys of `data.*`: those that all sources share, and the source's own (`_target_` and its arguments)."""
    own = {key: value for key, value in keys.items() if key not in COMMON}
    return DataConfig(own, **{key: value for key, value in keys.items() if key in COMMON})


@dataclass
class TextConfig:
    """How texts become token ids (`text.*` on the command line); conf/config.yaml says what each key means."""

    kind: str = "words"  # or "auto": what suits the texts (`data.text_choice`)
    normalization: str | None = None
    max_size: int | None = None
    min_count: int = 1
    vectors: str | None = None
    freeze_vectors: bool = False
    tokenizer: str = "basic_english"  # of kind torchtext only: name in torchtext.data.utils.get_tokenizer

    def __post_init__(self) -> None:
        if self.max_size is not None and self.max_size < 3:
            raise UserError(f"text.max_size must be at least 3 (<pad>, <unk> and one token), got {self.max_size}")
        if self.min_count < 1:
            raise UserError(f"text.min_count must be at least 1, got {self.min_count}")
