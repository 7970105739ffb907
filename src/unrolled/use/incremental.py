"""Tokenizing a text that comes in parts."""

import unicodedata

from unrolled.data.tokenizer import TRAINED, Tokenizer

BREAK = "<br"  # with the blank after it the start of a line break, which the tokenizer of words takes as a whole


class IncrementalTokenizer:
    """Tokenizes a text whose parts may end anywhere: all tokens together are exactly those of the whole text.

    What may still change, such as the last word, waits for the next part.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self._waiting = ""

    def feed(self, text: str) -> list[str]:
        """The tokens that ``text`` completes."""
        begin = len(self._waiting)
        self._waiting += text
        at = self._boundary_after(begin)
        done, self._waiting = self._waiting[:at], self._waiting[at:]
        return self.tokenizer(done) if done else []

    def rest(self) -> list[str]:
        """The tokens of what waits, were the text to end here; it goes on waiting."""
        return self.tokenizer(self._waiting) if self._waiting else []

    def _boundary_after(self, begin: int) -> int:
        """The last place, not before ``begin``, at which splitting the text changes no token; 0 where there is none."""
        text = self._waiting
        kind = self.tokenizer.kind
        if kind in ("characters", "bytes") and self.tokenizer.normalization is None:
            return len(text)
        for at in range(len(text) - 1, max(begin, 1) - 1, -1):
            if kind in ("characters", "bytes"):
                fits = text[at].isascii()  # no ASCII character combines with the one before it
            elif kind in TRAINED:
                fits = text[at] == " "  # what a subword model sees as the start of a word
            else:
                fits = text[at].isspace() and not self._may_begin_break(text[:at])
            if fits:
                return at
        return 0

    def _may_begin_break(self, text: str) -> bool:
        """Whether the last word ends like the start of a line break, once the tokenizer has dropped double quotes."""
        word = "".join(text.rsplit(None, 1)[-1:])
        if self.tokenizer.normalization is not None:
            word = unicodedata.normalize(self.tokenizer.normalization, word)  # type: ignore[arg-type]
        return word.replace('"', "").lower().endswith(BREAK)
