"""The bias of the truncated gradient where it is known."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests.nn import build

from unrolled.data.corpus import TokenCorpus
from unrolled.nn.embedding import Embedding
from unrolled.nn.network import Network
from unrolled.nn.pooling import Last
from unrolled.tbptt.batch import Batch, documents_batch
from unrolled.tbptt.bias import gradient_bias
from unrolled.tbptt.loop import Truncation
from unrolled.tbptt.read import read, start

Make = Callable[..., TokenCorpus]


def network(make: Any = build.lstm, dropout: float = 0.0, **how: Any) -> Network:
    torch.manual_seed(0)
    embedding = Embedding(11, 3, std=1.0, dropout=dropout, word_dropout=dropout)
    return Network(embedding, make(3, 5, **how), Last(5), 3, dropout=dropout).double()


def batches(corpus: TokenCorpus, chunk_len: int | None) -> list[Batch]:
    return [documents_batch(corpus, np.array(part), chunk_len) for part in ([0, 1, 2], [3, 4])]


def test_it_is_the_distance_between_the_gradients_of_two_networks(make_corpus: Make) -> None:
    corpus = make_corpus([7, 3, 9, 4, 1])
    gradients = []
    for exact in (False, True):
        model = network()
        for batch in batches(corpus, 2):
            carried = read(model, batch.blocks, start(model, len(batch.labels)), Truncation(exact=exact))
            F.cross_entropy(model.logits(carried.pooled), batch.labels, reduction="sum").backward()
        parameters = [*model.embedding.parameters(), *model.encoder.parameters()]
        gradients.append(np.concatenate([p.grad.numpy().ravel() for p in parameters]))  # type: ignore[union-attr]
    found = gradient_bias(network(), batches(corpus, 2))
    truncated, exact_gradient = gradients
    size = np.linalg.norm(exact_gradient)
    assert found.relative_error == pytest.approx(np.linalg.norm(truncated - exact_gradient) / size, rel=1e-10)
    assert found.cosine == pytest.approx(truncated @ exact_gradient / size / np.linalg.norm(truncated), rel=1e-10)
    assert found.relative_error > 0.01


def test_there_is_none_in_a_single_chunk_nor_without_memory(make_corpus: Make) -> None:
    corpus = make_corpus([7, 3, 9, 4, 1])
    for model, chunk_len in ((network(), None), (network(), 9), (network(build.memoryless), 2)):
        found = gradient_bias(model, batches(corpus, chunk_len))
        assert found.relative_error < 1e-12
        assert found.cosine == pytest.approx(1, abs=1e-12)


def test_dropout_is_the_same_in_both_and_the_run_is_left_alone(make_corpus: Make) -> None:
    corpus = make_corpus([7, 3, 9, 4, 1])
    model = network(dropout=0.4, input_dropout=0.4, weight_dropout=0.4)
    before = torch.get_rng_state()
    found = gradient_bias(model, batches(corpus, 9))
    assert found.relative_error < 1e-12
    assert torch.equal(before, torch.get_rng_state())
    assert all(parameter.grad is None for parameter in model.parameters())
