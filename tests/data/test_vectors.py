from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unrolled.data.config import DataConfig, TextConfig
from unrolled.data.prepare import prepare
from unrolled.data.vectors import coverage, read_vectors
from unrolled.data.vocabulary import Vocabulary
from unrolled.errors import UserError

VOCABULARY = Vocabulary(["<pad>", "<unk>", "the", "naïve", "nowhere", "a b"])
GLOVE = "other 9 9 9\nthe 1 2 -3\nnaïve .5 0 1e-3\nthe 7 7 7\n<pad> 4 4 4\na b 5 6 7\n"


@pytest.mark.parametrize("header", ["", "6 3\n"])
@pytest.mark.parametrize("end", ["\n", " \n"])
def test_glove_word2vec_and_fasttext_files_are_read(tmp_path: Path, header: str, end: str) -> None:
    content = header + GLOVE.replace("\n", end)
    for name, written in (("v.txt", content.encode()), ("v.txt.gz", gzip.compress(content.encode()))):
        (tmp_path / name).write_bytes(written)
        vectors = read_vectors(tmp_path / name, VOCABULARY)
        assert vectors.dimension == 3
        assert vectors.found.tolist() == [False, False, True, True, False, True]
        expected = [[0, 0, 0], [0, 0, 0], [1, 2, -3], [0.5, 0, 1e-3], [0, 0, 0], [5, 6, 7]]
        np.testing.assert_array_equal(vectors.matrix, np.array(expected, dtype=np.float32))


def test_coverage_counts_words_and_their_occurrences(tmp_path: Path) -> None:
    (tmp_path / "v.txt").write_text(GLOVE)
    vectors = read_vectors(tmp_path / "v.txt", VOCABULARY)
    counts = np.array([0, 100, 30, 9, 11, 0])
    assert coverage(vectors, counts) == {"dimension": 3, "types": 0.75, "tokens": 39 / 50}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is empty"),
        ("word\n", "line 1: expected a word and its features"),
        ("the 1 2 3\nnaïve 1 2\n", "line 2: 'naïve' does not have 3 finite features"),
        ("the 1 2 x\n", "line 1: 'the' does not have 3 finite features"),
        ("2 2\nthe 1 nan\n", "line 2: 'the' does not have 2 finite features"),
    ],
)
def test_a_file_that_holds_no_vectors_is_refused_with_its_line(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "v.txt").write_text(content)
    with pytest.raises(UserError, match=r"text\.vectors") as refused:
        read_vectors(tmp_path / "v.txt", VOCABULARY)
    assert said in str(refused.value)


def test_prepared_data_hold_the_vectors_of_their_vocabulary_and_report_the_share(
    list_source: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents = [("the cat the end", "x"), ("the dog", "y")] * 20
    monkeypatch.setattr("unrolled.data.prepare.build_source", lambda data: list_source(train=documents))
    (tmp_path / "v.txt").write_text("cat 1 2\nhorse 3 4\ndog 5 6\n")
    data = prepare(DataConfig(), TextConfig(vectors=str(tmp_path / "v.txt")), 0, tmp_path)
    assert data.vectors is not None
    assert data.vectors.matrix[data.vocabulary.lookup(["cat", "dog", "end"])].tolist() == [[1, 2], [5, 6], [0, 0]]
    shares = data.summary["vectors"]
    tokens = [token for index in range(len(data.train)) for token in data.train.document(index)]
    known = sum(data.vocabulary.tokens[token] in ("cat", "dog") for token in tokens)
    assert (shares["types"], shares["tokens"]) == (0.5, pytest.approx(known / len(tokens)))
    assert any("of the known tokens of train" in warning for warning in data.summary["warnings"])
