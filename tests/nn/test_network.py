"""The wide path of a network: it begins as the linear model whose scores it is given."""

import pytest
import torch
from tests.nn.build import gru
from torch.nn import functional as F

from unrolled.nn.embedding import Embedding
from unrolled.nn.network import Network
from unrolled.nn.pooling import Mean
from unrolled.tbptt.carried import Pooled


def network(wide: bool) -> Network:
    torch.manual_seed(0)
    return Network(Embedding(9, 3, std=1.0), gru(3, 4), Mean(4), 5, wide=wide)


def pooled(model: Network, rows: int) -> Pooled:
    outputs, _ = model.encoder(model.embedding(torch.randint(2, 9, (6, rows))), model.encoder.initial_state(rows))
    return model.pooling.update(model.initial_pooled(rows), outputs, torch.full((rows,), 6))


def test_a_network_with_a_wide_path_begins_as_the_linear_model() -> None:
    model, scores = network(wide=True), torch.randn(7, 5)
    torch.testing.assert_close(model.logits(pooled(model, 7), scores), scores, rtol=0, atol=0)


def test_the_head_adds_to_the_scores_once_it_has_learned() -> None:
    model, scores = network(wide=True), torch.randn(7, 5)
    read = pooled(model, 7)
    F.cross_entropy(model.logits(read, scores), torch.arange(7) % 5).backward()
    assert model.head.weight.grad is not None
    assert model.head.weight.grad.abs().min() > 0, "zeros do not keep the head from learning"
    with torch.no_grad():
        model.head.weight.normal_()
        model.wide.fill_(0.5)  # type: ignore[union-attr]
    torch.testing.assert_close(model.logits(read, scores), model.head(model.document_vector(read)) + scores / 2)


def test_scores_are_needed_with_a_wide_path_alone() -> None:
    model = network(wide=True)
    with pytest.raises(ValueError, match="needs the linear model's scores"):
        model.logits(pooled(model, 2))
    narrow = network(wide=False)
    read = pooled(narrow, 2)
    torch.testing.assert_close(narrow.logits(read, torch.randn(2, 5)), narrow.logits(read))
