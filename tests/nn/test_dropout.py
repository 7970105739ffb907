"""Dropout from random bytes against what a share of dropped elements must be."""

import pytest
import torch

from unrolled.nn.dropout import dropout


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.5, 0.9])
def test_the_share_is_that_of_the_rate_and_what_stays_is_scaled_up(rate: float) -> None:
    torch.manual_seed(0)
    x = torch.ones(1000, 1001)
    y = dropout(x, rate, training=True)
    share = round(256 * rate) / 256
    assert abs(share - rate) <= 1 / 512
    assert abs((y == 0).float().mean().item() - share) < 5 * (share * (1 - share) / x.numel()) ** 0.5
    kept = y[y != 0]
    torch.testing.assert_close(kept, torch.full_like(kept, 1 / (1 - share)))


def test_elements_are_dropped_independently() -> None:
    """Of the eight bytes of one random number, too: each place, and each pair of neighbours."""
    torch.manual_seed(0)
    dropped = (dropout(torch.ones(200_000, 8), 0.5, training=True) == 0).double()
    tolerance = 5 * (0.25 / len(dropped)) ** 0.5
    assert ((dropped.mean(0) - 0.5).abs() < tolerance).all()
    both = dropped.t() @ dropped / len(dropped)
    off = both[~torch.eye(8, dtype=torch.bool)]
    assert ((off - 0.25).abs() < tolerance).all()


def test_the_gradient_is_dropped_with_the_value() -> None:
    x = torch.randn(7, 3, 5, dtype=torch.float64, requires_grad=True)
    y = dropout(x, 0.25, training=True)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(y, x * gradient)
    assert set(gradient.unique().tolist()) == {0.0, 4 / 3}


def test_a_seed_repeats_it_and_evaluation_leaves_all() -> None:
    x = torch.randn(4, 5)
    torch.manual_seed(1)
    first = dropout(x, 0.5, training=True)
    torch.manual_seed(1)
    assert torch.equal(dropout(x, 0.5, training=True), first)
    assert not torch.equal(dropout(x, 0.5, training=True), first)
    assert dropout(x, 0.5, training=False) is x
    assert dropout(x, 0.0, training=True) is x
    assert not dropout(x, 1.0, training=True).any()
