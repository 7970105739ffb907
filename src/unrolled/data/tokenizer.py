"""Tokenizers that need no training: two of words, white space, characters and bytes."""

import re
import unicodedata
from abc import ABC, abstractmethod
from typing import Any, ClassVar

from unrolled.errors import UserError


class Tokenizer(ABC):
    """Splits a text, brought into the Unicode form ``normalization`` first, always into the same tokens."""

    kind: ClassVar[str]

    def __init__(self, normalization: str | None = None) -> None:
        self.normalization = normalization

    def __call__(self, text: str) -> list[str]:
        """The tokens of ``text``; an empty or blank text may have none."""
        if self.normalization is not None and not text.isascii():
            text = unicodedata.normalize(self.normalization, text)  # type: ignore[arg-type]
        return self.tokenize(text)

    @abstractmethod
    def tokenize(self, text: str) -> list[str]:
        """The tokens of a text already in its Unicode form."""

    def state(self) -> dict[str, Any]:
        """Plain values, for JSON or a checkpoint, that make this tokenizer again (`tokenizer_from_state`)."""
        return {"kind": self.kind, "normalization": self.normalization}

    def describe(self) -> dict[str, Any]:
        """What tells this tokenizer from others, in short: the state, with a hash in the place of anything long."""
        return self.state()


class Words(Tokenizer):
    """Lower-case words and punctuation marks: the ``basic_english`` normalisation of torchtext 0.18, token for token.

    Lower case; the marks ' . , ( ) ! ? are tokens of their own; ; and : and the line break <br /> separate; double
    quotes vanish (so that the parts they join become one token); then split at white space.
    """

    kind = "words"

    def tokenize(self, text: str) -> list[str]:
        # One replacement after another: looking for one character is far faster than any regular expression.
        text = text.lower()
        text = text.replace("'", " ' ").replace('"', "").replace(".", " . ")
        text = text.replace("<br />", " ").replace(",", " , ")
        text = text.replace("(", " ( ").replace(")", " ) ").replace("!", " ! ").replace("?", " ? ")
        return text.replace(";", " ").replace(":", " ").split()


class _Apart(dict[str, str]):
    """A character that is no letter, digit or blank, with blanks around it if it is a punctuation mark or a symbol."""

    def __missing__(self, character: str) -> str:
        # Accents and vowel signs, as Hindi has, are neither: they stay in their word.
        apart = unicodedata.category(character)[0] in "PS"
        self[character] = f" {character} " if apart else character
        return self[character]


class WordPunct(Tokenizer):
    """Lower-case words, and each punctuation mark and symbol a token of its own (the line break <br /> separates).

    Numbers are words: 3.5 is three tokens. Addresses, emoticons and "don't" fall into words and marks. The same rule
    as BERT's basic tokenizer (Devlin et al., 2019), which also strips accents.
    """

    kind = "wordpunct"
    _OTHER = re.compile(r"[^\w\s]")
    _APART = _Apart()

    def tokenize(self, text: str) -> list[str]:
        apart = self._APART
        return self._OTHER.sub(lambda match: apart[match[0]], text.lower().replace("<br />", " ")).split()


class Whitespace(Tokenizer):
    """What stands between white space, unchanged: for texts that are tokens already."""

    kind = "whitespace"

    def tokenize(self, text: str) -> list[str]:
        return text.split()


class Characters(Tokenizer):
    """Each Unicode character (code point) a token, white space included: for languages without spaces."""

    kind = "characters"

    def tokenize(self, text: str) -> list[str]:
        return list(text)


class Bytes(Tokenizer):
    """Each byte of the UTF-8 form a token, written as two hexadecimal digits: at most 256 types, none ever unknown
    once all are seen (Sutskever et al., 2011, and Radford et al., 2017, read text so)."""

    kind = "bytes"
    _NAMES: ClassVar[list[str]] = [f"{byte:02x}" for byte in range(256)]

    def tokenize(self, text: str) -> list[str]:
        return [self._NAMES[byte] for byte in text.encode("utf-8", errors="replace")]


TOKENIZERS: dict[str, type[Tokenizer]] = {cls.kind: cls for cls in (Words, WordPunct, Whitespace, Characters, Bytes)}


#: Kinds that must be trained first (`data.subword`).
TRAINED = ("bpe", "unigram")


def build_tokenizer(kind: str, normalization: str | None = None) -> Tokenizer:
    """The tokenizer that ``text.kind`` names, if it needs no training.

    Raises:
        UserError: unknown kind.
    """
    if kind not in TOKENIZERS:
        raise UserError(f"text.kind must be one of auto, {', '.join((*TOKENIZERS, *TRAINED))}, got {kind!r}")
    return TOKENIZERS[kind](normalization)
