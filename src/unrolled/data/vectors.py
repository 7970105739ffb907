"""Pretrained word vectors from a text file: GloVe, word2vec (text form) or fastText."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unrolled.data.readers.text_file import existing_file, reading
from unrolled.data.vocabulary import Vocabulary
from unrolled.errors import UserError


@dataclass(frozen=True)
class Vectors:
    """Vectors for the words of a vocabulary, as far as the file has them."""

    matrix: NDArray[np.float32]  # [V, E]; zeros where the file has none
    found: NDArray[np.bool_]  # [V] whether the file has one

    @property
    def dimension(self) -> int:
        """E, features of a vector."""
        return self.matrix.shape[1]


def read_vectors(path: str | Path, vocabulary: Vocabulary) -> Vectors:
    """Read the vectors of the words in ``vocabulary``; all others are passed over without parsing them.

    The file has one word a line, then its features, divided by blanks; a first line with two whole numbers (word2vec,
    fastText) gives the number of words and of features. Plain or gzipped, UTF-8. A word that stands there twice
    keeps its first vector. Words may contain blanks, as some of GloVe's do.

    Raises:
        UserError: no such file, or a line that does not have the file's number of features, or has no finite ones.
    """
    file = existing_file(path, "text.vectors")
    ids = {token: index for index, token in enumerate(vocabulary.tokens) if index >= 2}
    matrix: NDArray[np.float32] | None = None
    found = np.zeros(len(vocabulary), dtype=bool)
    dimension = 0
    with reading(file) as stream:
        for number, line in enumerate(stream, start=1):
            if number == 1:
                header = line.split()
                dimension = int(header[1]) if _is_header(header) else len(header) - 1
                if dimension < 2:
                    raise UserError(
                        f"{file} (text.vectors), line 1: expected a word and its features, or the numbers of words and "
                        f"features, got {line[:60].decode('utf-8', 'replace').strip()!r}; give a GloVe, word2vec or "
                        f"fastText file in text form"
                    )
                matrix = np.zeros((len(vocabulary), dimension), dtype=np.float32)
                if _is_header(header):
                    continue
            assert matrix is not None
            line = line.rstrip()
            word, _, rest = line.partition(b" ")
            if rest.count(b" ") >= dimension:  # the word itself has blanks
                word = line.rsplit(b" ", dimension)[0]
            index = ids.get(word.decode("utf-8", "replace"))
            if index is None or found[index]:
                continue
            features = line[len(word) :].split()
            try:
                values = np.array(features, dtype=np.float32)
            except ValueError:
                values = np.full(1, np.nan, dtype=np.float32)
            if len(values) != dimension or not np.isfinite(values).all():
                raise UserError(
                    f"{file} (text.vectors), line {number}: {word[:40].decode('utf-8', 'replace')!r} does not have "
                    f"{dimension} finite features, as the file's first line has; give an undamaged file"
                )
            matrix[index] = values
            found[index] = True
    assert matrix is not None
    return Vectors(matrix, found)


def _is_header(fields: list[bytes]) -> bool:
    return len(fields) == 2 and all(field.isdigit() for field in fields)


def coverage(vectors: Vectors, counts: NDArray[np.int64]) -> dict[str, Any]:
    """How much of a training set the file knows; counts: of each entry of the vocabulary in it, [V]."""
    known = counts[2:]  # <pad> and <unk> stand for no word
    return {
        "dimension": vectors.dimension,
        "types": float(vectors.found[2:].mean()) if len(known) else 0.0,
        "tokens": float(known[vectors.found[2:]].sum() / max(int(known.sum()), 1)),
    }
