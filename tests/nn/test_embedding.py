"""The embedding against torch.nn.Embedding and counting."""

import pytest
import torch

from unrolled.nn.embedding import Embedding


def test_without_dropout_it_is_torchs_embedding() -> None:
    embedding = Embedding(7, 3)
    tokens = torch.tensor([[1, 6], [0, 2], [5, 5]])
    theirs = torch.nn.Embedding(7, 3, padding_idx=0)
    theirs.load_state_dict(embedding.state_dict())
    torch.testing.assert_close(embedding(tokens), theirs(tokens))
    assert sum(p.numel() for p in embedding.parameters()) == 7 * 3


def test_padding_is_zero_and_learns_nothing() -> None:
    embedding = Embedding(7, 3, std=2.0)
    assert not embedding.weight[0].any()
    embedding(torch.tensor([0, 3])).sum().backward()
    assert embedding.weight.grad is not None
    assert not embedding.weight.grad[0].any()
    assert embedding.weight.grad[3].any()


def test_vectors_start_with_the_asked_deviation() -> None:
    torch.manual_seed(0)
    assert Embedding(500, 20, std=0.1).weight[1:].std().item() == pytest.approx(0.1, rel=0.05)


def test_word_dropout_reads_a_share_of_real_tokens_as_unknown_in_training_only() -> None:
    torch.manual_seed(0)
    embedding = Embedding(9, 2, word_dropout=0.3, unknown=1)
    tokens = torch.full((1000, 4), 5)
    tokens[:, 3] = 0
    vectors = embedding(tokens)
    unknown = (vectors[:, :3] == embedding.weight[1]).all(-1)
    assert unknown.float().mean().item() == pytest.approx(0.3, abs=0.03)
    assert (vectors[:, :3][~unknown] == embedding.weight[5]).all()
    assert not vectors[:, 3].any(), "padding stays padding"
    assert (embedding.eval()(tokens)[:, :3] == embedding.weight[5]).all()


def test_dropout_zeroes_elements_and_scales_the_others_in_training_only() -> None:
    torch.manual_seed(0)
    embedding = Embedding(9, 50, dropout=0.25)
    vectors = embedding(torch.full((40,), 5))
    kept = vectors != 0
    assert 1 - kept.float().mean().item() == pytest.approx(0.25, abs=0.03)
    torch.testing.assert_close(vectors[kept], (embedding.weight[5] / 0.75).expand(40, -1)[kept])
    assert torch.equal(embedding.eval()(torch.tensor(5)), embedding.weight[5])
