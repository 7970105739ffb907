"""The LSTM with one matrix for inputs and hidden state together."""

import pytest
import torch
from torch import nn

from unrolled.nn import Recurrence
from unrolled.nn.cells import SingleMatrixLSTMCell

B, E, H, P = 3, 4, 5, 2


def test_one_product_with_x_and_h_side_by_side_is_the_sum_of_two_products() -> None:
    x, h = torch.randn(B, E, dtype=torch.float64), torch.randn(B, H, dtype=torch.float64)
    W, U = torch.randn(4 * H, E, dtype=torch.float64), torch.randn(4 * H, H, dtype=torch.float64)
    together = torch.cat([x, h], dim=1) @ torch.cat([W, U], dim=1).T
    torch.testing.assert_close(together, x @ W.T + h @ U.T, rtol=0, atol=1e-12)


@pytest.mark.parametrize("proj_size", [0, P])
def test_its_matrix_is_torchs_two_side_by_side_and_its_bias_the_sum_of_torchs(proj_size: int) -> None:
    theirs = nn.LSTM(E, H, proj_size=proj_size)
    packed = theirs.state_dict()
    ours = Recurrence(SingleMatrixLSTMCell, E, H, proj_size=proj_size)
    ours.load_packed(packed)
    assert torch.equal(ours.weight_l0[:, :E], packed["weight_ih_l0"])
    assert torch.equal(ours.weight_l0[:, E:], packed["weight_hh_l0"])
    assert torch.equal(ours.biases_l0, packed["bias_ih_l0"] + packed["bias_hh_l0"])


@pytest.mark.parametrize(("bias", "proj_size"), [(True, 0), (False, 0), (True, P)])
def test_packed_for_torch_it_computes_the_same(bias: bool, proj_size: int) -> None:
    ours = Recurrence(SingleMatrixLSTMCell, E, H, bias=bias, proj_size=proj_size, dtype=torch.float64)
    theirs = nn.LSTM(E, H, bias=bias, proj_size=proj_size, dtype=torch.float64)
    theirs.load_state_dict(ours.to_packed(), strict=True)
    x = torch.randn(7, B, E, dtype=torch.float64)
    torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=1e-12)
