"""torchtext 0.18 as the text backend: its tokenizers and its vocabulary, in the environment that it needs.

torchtext ended with 0.18, which loads only beside torch 2.3; `make setup-torchtext` makes an environment for both.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unrolled.data.tokenizer import Tokenizer
from unrolled.data.vocabulary import SPECIALS, UNK, Vocabulary
from unrolled.errors import UserError


def import_torchtext(choice: str) -> Any:
    """The module ``torchtext``. Raises UserError, which names the user's ``choice``, where it does not load."""
    try:
        import torchtext

        torchtext.disable_torchtext_deprecation_warning()  # before its parts, each of which would print it
        import torchtext.data
        import torchtext.datasets
        import torchtext.vocab
    except (ImportError, OSError, AttributeError) as error:  # OSError: its library was built for another torch
        import torch

        raise UserError(
            f"{choice} needs torchtext 0.18, which loads only beside torch 2.3 (here is torch {torch.__version__}); "
            f"run `make setup-torchtext` and then `.venv-torchtext/bin/python train.py ...`, or choose text=words, "
            f"which has the rules of its basic_english"
        ) from error
    return torchtext


class TorchtextTokenizer(Tokenizer):
    """A tokenizer by its name in ``torchtext.data.utils.get_tokenizer``, such as ``basic_english`` or ``spacy``."""

    kind = "torchtext"

    def __init__(self, tokenizer: str = "basic_english", normalization: str | None = None) -> None:
        super().__init__(normalization)
        import_torchtext("text=torchtext")
        from torchtext.data.utils import get_tokenizer

        self.tokenizer = tokenizer
        try:
            self._split = get_tokenizer(tokenizer)
        except Exception as error:  # torchtext raises whatever the package behind a tokenizer does
            raise UserError(f"text.tokenizer={tokenizer} is not available in torchtext: {error}") from error

    def tokenize(self, text: str) -> list[str]:
        return list(self._split(text))

    def state(self) -> dict[str, Any]:
        return super().state() | {"tokenizer": self.tokenizer}


def torchtext_vocabulary(
    types: Sequence[str], counts: NDArray[np.int64], max_size: int | None, min_count: int
) -> tuple[Vocabulary, NDArray[np.int32]]:
    """What `choose_types` gives, from the vocabulary that torchtext's ``build_vocab_from_iterator`` makes."""
    torchtext = import_torchtext("text=torchtext")
    order = np.argsort(-counts, kind="stable")[: int((counts > 0).sum())]
    if max_size is not None:
        order = order[: max_size - len(SPECIALS)]
    by_count = OrderedDict((types[index], int(counts[index])) for index in order.tolist())
    made = torchtext.vocab.vocab(by_count, min_freq=min_count, specials=list(SPECIALS))
    made.set_default_index(made[UNK])
    table = np.array(made.lookup_indices(list(types)) if len(types) else [], dtype=np.int32)
    table[table == 0] = 1  # a text may hold "<pad>" itself: then it means unknown
    return Vocabulary(made.get_itos()), table
