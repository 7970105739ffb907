"""The kind of tokens that `text=auto` stands for: words, or characters where no blanks stand between words."""

import re
from collections import Counter
from itertools import islice

from unrolled.data.sources.source import Notes, Source

AUTO = "auto"
WORDS, CHARACTERS = "wordpunct", "characters"
BY_BLANKS = ("words", "wordpunct", "whitespace")  # kinds for texts with blanks between words
DOCUMENTS = 1_000  # that are looked at, the first of train
BEGINNING = 500  # characters of each
UNSPACED_SHARE = 0.3  # of a text's characters, and of all texts, from which on there are no blanks between words
CHARACTERS_PER_BLANK = 8  # in scripts without blanks fewer mean that blanks were put between the words all the same
NOTICED_SHARE = 0.05  # of the texts from which on those without blanks are worth a word though all are read as words

#: Scripts that put no blanks between words, by a language that is written in each.
SCRIPTS = {
    "Thai": "\u0e00-\u0e7f",
    "Lao": "\u0e80-\u0eff",
    "Tibetan": "\u0f00-\u0fff",
    "Burmese": "\u1000-\u109f",
    "Khmer": "\u1780-\u17ff",
    "Japanese": "\u3040-\u30ff",  # kana; the Han characters beside them count as Chinese
    "Chinese": "\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff",
}
_OF = {language: re.compile(f"[{script}]") for language, script in SCRIPTS.items()}
UNSPACED = re.compile(f"[{''.join(SCRIPTS.values())}]")
_DIVIDED = re.compile(rf"{UNSPACED.pattern}\s+(?={UNSPACED.pattern})")


def choose_text(source: Source) -> tuple[str, str]:
    """The kind that suits the training texts, and what to say about it; nothing where they are plainly words.

    The beginnings of the first documents are looked at. Each character of a script without blanks counts, so neither
    a long address nor any other long token of an alphabet does. Texts whose words somebody has divided by blanks
    already are words.
    """
    texts = unspaced = characters = blanks = 0
    languages: Counter[str] = Counter()
    for document in islice(source.documents("train", Notes()), DOCUMENTS):
        text = document.text[:BEGINNING].strip()
        texts += bool(text)
        if text.isascii():
            continue
        found = len(UNSPACED.findall(text))
        if found > UNSPACED_SHARE * sum(map(len, text.split())):
            unspaced += 1
            characters += found
            blanks += len(_DIVIDED.findall(text))
            languages.update({language: len(script.findall(text)) for language, script in _OF.items()})
    if unspaced <= NOTICED_SHARE * texts or characters < CHARACTERS_PER_BLANK * blanks:
        return WORDS, ""
    if languages["Japanese"] > 0.1 * languages["Chinese"]:
        languages["Chinese"] = 0
    share = unspaced / texts
    which = "the" if share > 0.95 else f"{share:.0%} of the"
    kind, other = (CHARACTERS, WORDS) if share > UNSPACED_SHARE else (WORDS, CHARACTERS)
    return kind, (
        f"text: {which} texts have no blanks between words ({languages.most_common(1)[0][0]}): "
        f"{'' if which == 'the' else 'all are '}read as {'words' if kind == WORDS else kind}; text={other} to change it"
    )
