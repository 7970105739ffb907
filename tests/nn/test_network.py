"""The wide path of a network: its logits are mixed with a linear model's."""

import pytest
import torch
from tests.nn.build import gru

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


def test_a_wide_path_mixes_the_networks_logits_with_the_scores() -> None:
    model, scores = network(wide=True), torch.randn(7, 5)
    assert model.mix is not None
    logits = model.logits(pooled(model, 7))
    torch.testing.assert_close(model.mixed(logits, scores), logits + scores)
    model.mix.copy_(torch.tensor([0.25, 3.0]))
    torch.testing.assert_close(model.mixed(logits, scores), logits / 4 + 3 * scores)
    restored = network(wide=True)
    restored.load_state_dict(model.state_dict())
    torch.testing.assert_close(restored.mixed(logits, scores), logits / 4 + 3 * scores)


def test_scores_are_needed_with_a_wide_path_alone() -> None:
    model = network(wide=True)
    logits = model.logits(pooled(model, 2))
    with pytest.raises(ValueError, match="needs the linear model's scores"):
        model.mixed(logits, None)
    assert network(wide=False).mixed(logits, None) is logits
