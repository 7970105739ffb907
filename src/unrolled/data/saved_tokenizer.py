"""The tokenizer of a trained model, made again from what its checkpoint keeps."""

from typing import Any

from unrolled.data.subword import Subword
from unrolled.data.tokenizer import TRAINED, Tokenizer, build_tokenizer
from unrolled.data.torchtext_text import TorchtextTokenizer


def tokenizer_from_state(state: dict[str, Any]) -> Tokenizer:
    """The tokenizer whose ``state()`` was kept.

    Raises:
        UserError: it needs a package that is not installed.
    """
    if state["kind"] in TRAINED:
        return Subword(**state)
    if state["kind"] == TorchtextTokenizer.kind:
        return TorchtextTokenizer(state["tokenizer"], state["normalization"])
    return build_tokenizer(state["kind"], state["normalization"])
