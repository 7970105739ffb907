"""Shares of a document's loss, counted over its chunks."""

from collections.abc import Callable
from typing import get_args

import numpy as np
import pytest
import torch

from unrolled.data.corpus import TokenCorpus
from unrolled.tbptt.batch import stream_batch
from unrolled.tbptt.config import Loss
from unrolled.tbptt.schedule import StreamSchedule
from unrolled.tbptt.stream import chunk_weights


@pytest.mark.parametrize("loss", get_args(Loss))
@pytest.mark.parametrize("chunk_len", [1, 2, 3, 20])
@pytest.mark.parametrize("reach", [None, 30])
def test_the_weights_of_every_document_sum_to_one(
    make_corpus: Callable[..., TokenCorpus], loss: str, chunk_len: int, reach: int | None
) -> None:
    corpus = make_corpus([4, 9, 0, 1, 7, 2])
    total = dict.fromkeys(range(100, 106), 0.0)
    for step in StreamSchedule(corpus, rows=4, chunk_len=chunk_len, reach=reach).batches(0):
        for document, weight in zip(step.ids.tolist(), chunk_weights(loss, step).tolist(), strict=True):
            if document < 0:
                assert weight == 0, "an idle row has no loss"
            else:
                total[document] += weight
    assert total == pytest.approx(dict.fromkeys(total, 1.0))


def test_weights_of_a_document_of_three_chunks(make_corpus: Callable[..., TokenCorpus]) -> None:
    corpus = make_corpus([8])
    rows = np.zeros(3, dtype=np.int64)
    step = stream_batch(corpus, rows, np.array([0, 3, 6]), chunk_len=3, normalizer=1.0)
    assert chunk_weights("final", step).tolist() == [0, 0, 1]
    torch.testing.assert_close(chunk_weights("every", step), torch.full((3,), 1 / 3))
    torch.testing.assert_close(chunk_weights("linear", step), torch.tensor([1.0, 2.0, 3.0]) / 6)


def test_an_unknown_loss_is_refused(make_corpus: Callable[..., TokenCorpus]) -> None:
    step = stream_batch(make_corpus([2]), np.array([0]), np.array([0]), 2, 1.0)
    with pytest.raises(ValueError, match="'quadratic'"):
        chunk_weights("quadratic", step)
