"""The LSTM's projection and its forget gate's bias."""

import pytest
import torch

from unrolled.nn.cells import LSTMCell


@pytest.mark.parametrize("bias", [False, True])
def test_a_step_with_projection_equals_one_step_of_torchs_lstm(bias: bool) -> None:
    cell = LSTMCell(3, 5, bias, proj_size=2)
    theirs = torch.nn.LSTM(3, 5, bias=bias, proj_size=2)
    theirs.load_state_dict({f"{name}_l0": weight for name, weight in cell.state_dict().items()})
    x, h, c = torch.randn(4, 3), torch.randn(4, 2), torch.randn(4, 5)
    _, (h_theirs, c_theirs) = theirs(x.unsqueeze(0), (h.unsqueeze(0), c.unsqueeze(0)))
    torch.testing.assert_close(cell(x, (h, c)), (h_theirs[0], c_theirs[0]))
    assert "proj_size=2" in repr(cell)


def test_the_forget_bias_is_the_sum_of_the_two_biases_of_that_gate_alone() -> None:
    torch.manual_seed(0)
    plain = LSTMCell(3, 5)
    torch.manual_seed(0)
    cell = LSTMCell(3, 5, forget_bias=1.5)
    assert torch.equal((cell.bias_ih + cell.bias_hh)[5:10], torch.full((5,), 1.5))
    assert torch.equal(cell.bias_hh[5:10], torch.zeros(5))
    for name in ("bias_ih", "bias_hh"):
        ours, theirs = getattr(cell, name), getattr(plain, name)
        assert torch.equal(ours[:5], theirs[:5])
        assert torch.equal(ours[10:], theirs[10:])
    assert torch.equal(cell.weight_hh, plain.weight_hh)


def test_a_large_forget_bias_keeps_the_memory_and_a_large_negative_one_loses_it() -> None:
    x, h, c = torch.zeros(1, 3), torch.zeros(1, 5), torch.ones(1, 5)
    kept = [LSTMCell(3, 5, forget_bias=b)(x, (h, c))[1] - LSTMCell(3, 5)(x, (h, 0 * c))[1] for b in (30.0, -30.0)]
    assert (kept[0] - 1).abs().max() < 0.6  # what a step writes lies within i * g
    assert kept[1].abs().max() < 0.6


@pytest.mark.parametrize("proj_size", [-1, 5, 9])
def test_a_projection_must_be_shorter_than_the_memory(proj_size: int) -> None:
    with pytest.raises(ValueError, match=f"proj_size={proj_size}: must be smaller than hidden_size=5"):
        LSTMCell(3, 5, proj_size=proj_size)


def test_a_forget_bias_needs_biases() -> None:
    with pytest.raises(ValueError, match="needs bias=True"):
        LSTMCell(3, 5, bias=False, forget_bias=1.0)
