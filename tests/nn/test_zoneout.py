"""Units that keep their value: how many in training, and the expectation in evaluation."""

import pytest
import torch
from torch import Tensor

import unrolled
from unrolled.nn.cells import State
from unrolled.nn.zoneout import zoned


def replace(x: Tensor, state: State) -> State:
    return tuple(torch.ones_like(s) for s in state)


def test_in_training_the_stated_share_of_each_state_keeps_its_value() -> None:
    old = (torch.zeros(100, 100), torch.zeros(100, 200))
    h, c = zoned(replace, (0.2, 0.7), training=True)(torch.zeros(0), old)
    assert set(h.unique().tolist()) == {0.0, 1.0}
    assert abs(h.mean().item() - 0.8) < 0.02  # five standard deviations of 10,000 draws
    assert abs(c.mean().item() - 0.3) < 0.017


def test_in_evaluation_the_state_is_the_expectation() -> None:
    h, c = zoned(replace, (0.25, 0.5), training=False)(torch.zeros(0), (torch.zeros(2, 3), torch.zeros(2, 4)))
    assert torch.equal(h, torch.full((2, 3), 0.75))
    assert torch.equal(c, torch.full((2, 4), 0.5))


@pytest.mark.parametrize("training", [False, True])
def test_of_nothing_it_changes_nothing_and_of_everything_the_state_never_moves(training: bool) -> None:
    state = (torch.randn(2, 3),)
    assert zoned(replace, (0.0,), training)(torch.zeros(0), state)[0].eq(1).all()
    assert torch.equal(zoned(replace, (1.0,), training)(torch.zeros(0), state)[0], state[0])


def test_an_lstm_zones_out_h_and_c_and_computes_h_from_the_new_memory() -> None:
    """In evaluation, step by step by the published equations on torch's cell."""
    net = unrolled.LSTM(3, 5, zoneout_hidden=0.3, zoneout_cell=0.6).eval()
    cell = torch.nn.LSTMCell(3, 5)
    cell.load_state_dict({key.removesuffix("_l0"): value for key, value in net.state_dict().items()})
    x = torch.randn(6, 4, 3)
    h, c = torch.zeros(4, 5), torch.zeros(4, 5)
    for step in x:
        h_new, c_new = cell(step, (h, c))
        h, c = 0.3 * h + 0.7 * h_new, 0.6 * c + 0.4 * c_new
    _, (h_n, c_n) = net(x)
    torch.testing.assert_close(h_n[0], h)
    torch.testing.assert_close(c_n[0], c)
    net.train()
    assert not torch.equal(net(x)[0], net(x)[0])


def test_units_of_a_gru_that_are_zoned_out_repeat_their_output() -> None:
    net = unrolled.GRU(3, 50, zoneout_hidden=0.4)
    outputs, _ = net(torch.randn(20, 10, 3))
    repeated = (outputs[1:] == outputs[:-1]).float().mean().item()
    assert abs(repeated - 0.4) < 0.03  # five standard deviations of 9,500 draws
