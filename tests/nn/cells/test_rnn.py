"""The simple recurrent network beyond what it shares with torch.nn."""

import pytest
import torch

from unrolled.nn.cells import RNNCell


def test_relu_equals_torch() -> None:
    cell = RNNCell(3, 5, nonlinearity="relu")
    theirs = torch.nn.RNNCell(3, 5, nonlinearity="relu")
    theirs.load_state_dict(cell.state_dict())
    x, h = torch.randn(4, 3), torch.randn(4, 5)
    torch.testing.assert_close(cell(x, h), theirs(x, h))
    assert repr(cell) == repr(theirs)


def test_without_nonlinearity_the_state_is_a_sum_of_inputs_weighted_by_powers_of_u() -> None:
    cell = RNNCell(3, 5, bias=False, nonlinearity="identity")
    inputs, h = torch.randn(4, 2, 3), None
    for x in inputs:
        h = cell(x, h)
    W, U = cell.weight_ih, cell.weight_hh
    wanted = sum(x @ W.t() @ torch.linalg.matrix_power(U, 3 - t).t() for t, x in enumerate(inputs))
    torch.testing.assert_close(h, wanted)


def test_an_unknown_nonlinearity_is_refused_with_the_type_of_torch() -> None:
    with pytest.raises(RuntimeError):
        torch.nn.RNNCell(3, 5, nonlinearity="sine")(torch.zeros(4, 3))
    with pytest.raises(RuntimeError, match="nonlinearity=sine: must be one of tanh, relu, identity"):
        RNNCell(3, 5, nonlinearity="sine")
