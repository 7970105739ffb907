import pytest
import torch
from torch.nn import functional as F

from unrolled.nn.row_lookup import distinct, look_up


def test_distinct_is_torch_unique() -> None:
    tokens = torch.randint(2, 40, (200,))
    ids, places = distinct(tokens, 50)
    expected = tokens.unique(return_inverse=True)
    assert torch.equal(ids, expected[0])
    assert torch.equal(places, expected[1])
    assert [len(part) for part in distinct(tokens[:0], 50)] == [0, 0]


@pytest.mark.parametrize("padding", [None, 0])
def test_values_and_gradient_are_those_of_the_dense_lookup(padding: int | None) -> None:
    tokens = torch.tensor([3, 0, 3, 5, 0, 1])
    weight = torch.randn(7, 4, dtype=torch.float64, requires_grad=True)
    factors = torch.randn(6, 4, dtype=torch.float64)
    dense = F.embedding(tokens, weight, padding_idx=padding)
    (expected,) = torch.autograd.grad((dense * factors).sum(), weight)
    found = look_up(weight, tokens, *distinct(tokens, 7), padding)
    assert torch.equal(found, dense)
    (found * factors).sum().backward()
    assert weight.grad is not None
    assert weight.grad._indices()[0].tolist() == [0, 1, 3, 5]
    torch.testing.assert_close(weight.grad.to_dense(), expected)
