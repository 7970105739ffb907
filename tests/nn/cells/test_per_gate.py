"""The LSTM with one matrix per gate: which rows of torch.nn.LSTM's matrices each gate is."""

import pytest
import torch
from torch import nn

from unrolled.nn import Recurrence
from unrolled.nn.cells import PerGateLSTMCell

E, H, P = 4, 5, 2


def with_weights_of(theirs: nn.LSTM) -> Recurrence:
    ours = Recurrence(PerGateLSTMCell, E, H, bias=theirs.bias, proj_size=theirs.proj_size)
    ours.load_packed(theirs.state_dict())
    return ours


@pytest.mark.parametrize(("bias", "proj_size"), [(True, 0), (False, 0), (True, P), (False, P)])
def test_the_packed_layout_goes_there_and_back_unchanged(bias: bool, proj_size: int) -> None:
    theirs, other = (nn.LSTM(E, H, bias=bias, proj_size=proj_size) for _ in range(2))
    packed = with_weights_of(theirs).to_packed()
    assert list(packed) == list(theirs.state_dict())
    other.load_state_dict(packed, strict=True)
    for name, weight in theirs.state_dict().items():
        assert torch.equal(other.state_dict()[name], weight)


def test_each_gate_is_its_block_of_rows_in_the_order_i_f_g_o() -> None:
    theirs = nn.LSTM(E, H)
    ours = with_weights_of(theirs)
    for k, gate in enumerate("ifgo"):
        rows = slice(k * H, (k + 1) * H)
        assert torch.equal(ours.get_parameter(f"w_i{gate}_l0"), theirs.get_parameter("weight_ih_l0")[rows])
        assert torch.equal(ours.get_parameter(f"w_h{gate}_l0"), theirs.get_parameter("weight_hh_l0")[rows])
        assert torch.equal(ours.get_parameter(f"b_i{gate}_l0"), theirs.get_parameter("bias_ih_l0")[rows])
        assert torch.equal(ours.get_parameter(f"b_h{gate}_l0"), theirs.get_parameter("bias_hh_l0")[rows])


@pytest.mark.parametrize("proj_size", [0, P])
def test_the_same_seed_draws_the_weights_that_torch_draws(proj_size: int) -> None:
    torch.manual_seed(5)
    theirs = nn.LSTM(E, H, proj_size=proj_size)
    torch.manual_seed(5)
    ours = Recurrence(PerGateLSTMCell, E, H, proj_size=proj_size)
    assert all(torch.equal(ours.to_packed()[name], weight) for name, weight in theirs.state_dict().items())
