"""The keys of `data.*` that all sources share, and those of `text.*`: their types and rules."""

from dataclasses import dataclass, field, fields
from typing import Annotated, Any, Literal

from unrolled.arguments import Count, Rule, at_least
from unrolled.errors import UserError

Part = Annotated[float, Rule(lambda share: 0 < share < 1, "between 0 and 1")]


@dataclass
class DataConfig:
    """Which documents, and how they are split and truncated (`data.*` on the command line).

    conf/config.yaml says what each key means.
    """

    source: dict[str, Any] = field(default_factory=dict)  # `_target_`, a class of documents, and its arguments
    valid_share: Part = 0.1
    valid_part: Literal["random", "first", "last"] = "random"
    test_share: Part = 0.2
    fold: int | None = None
    folds: Annotated[int, at_least(2)] = 5
    limit: Count | None = None
    max_tokens: Count | None = None
    cut: Literal["head", "tail", "head+tail"] = "head"
    cut_test: bool = True
    cache_dir: str | None = None

    def __post_init__(self) -> None:
        if self.fold is None and self.folds != DataConfig.folds:
            raise UserError(
                f"data.folds={self.folds}: there are no folds without data.fold; set that to a number from 0 to "
                f"{self.folds - 1}, too, or leave data.folds at {DataConfig.folds}"
            )
        if self.fold is not None and not 0 <= self.fold < self.folds:
            raise UserError(
                f"data.fold must lie between 0 and data.folds - 1 = {self.folds - 1}, or be null, got {self.fold}"
            )


COMMON = tuple(each.name for each in fields(DataConfig) if each.name != "source")


def data_config(**keys: Any) -> DataConfig:
    """From the keys of `data.*`: those that all sources share, and the source's own (`_target_` and its arguments)."""
    own = {key: value for key, value in keys.items() if key not in COMMON}
    return DataConfig(own, **{key: value for key, value in keys.items() if key in COMMON})


@dataclass
class TextConfig:
    """How texts become token ids (`text.*` on the command line); conf/config.yaml says what each key means."""

    kind: str = "words"  # or "auto": what suits the texts (`data.text_choice`)
    normalization: Literal["NFC", "NFD", "NFKC", "NFKD"] | None = None
    max_size: Annotated[int, at_least(3, " (<pad>, <unk> and one token)")] | None = None
    min_count: Count = 1
    vectors: str | None = None
    freeze_vectors: bool = False
    tokenizer: str = "basic_english"  # of kind torchtext only: name in torchtext.data.utils.get_tokenizer
