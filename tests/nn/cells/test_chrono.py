"""Gate biases that start with memories of a chosen span."""

import math

import pytest
import torch

from unrolled.nn.cells import GRUCell, LayerNormGRUCell, LayerNormLSTMCell, LSTMCell

H = 4000  # units, so that the distribution of their spans shows


@pytest.mark.parametrize("make", [LSTMCell, LayerNormLSTMCell])
def test_an_lstm_keeps_what_it_writes_for_spans_drawn_evenly_up_to_chrono(make: type[LSTMCell]) -> None:
    cell = make(1, H, chrono=101, proj_size=1)
    i, f, g, o = (cell.bias_ih + cell.bias_hh).detach().chunk(4)
    torch.testing.assert_close(i, -f)
    spans = f.exp()  # u of b_f = log u
    assert 1 <= spans.min() < 2
    assert 99 < spans.max() <= 100
    assert abs(spans.mean().item() - 50.5) < 5 * math.sqrt(99**2 / 12 / H)  # five standard errors of a uniform mean
    bound = 2 / math.sqrt(H)
    assert g.abs().max() <= bound
    assert o.abs().max() <= bound, "the other gates start as ever"


@pytest.mark.parametrize("make", [GRUCell, LayerNormGRUCell])
def test_a_gru_keeps_its_state_for_spans_drawn_evenly_up_to_chrono(make: type[GRUCell]) -> None:
    cell = make(1, 500, chrono=101)
    r, z, n = (cell.bias_ih + cell.bias_hh).detach().chunk(3)
    spans = z.exp()
    assert 1 <= spans.min() < 3
    assert 97 < spans.max() <= 100
    assert abs(spans.mean().item() - 50.5) < 5 * math.sqrt(99**2 / 12 / 500)
    assert r.abs().max() <= 2 / math.sqrt(500)
    assert n.abs().max() <= 2 / math.sqrt(500)


def test_a_unit_of_span_u_forgets_one_part_in_one_plus_u_a_step() -> None:
    cell = GRUCell(1, 8, chrono=50)
    with torch.no_grad():
        cell.weight_ih.zero_()
        cell.weight_hh.zero_()
        cell.bias_ih[16:] = 0  # the candidate is 0: what is left of h is what was kept
        cell.bias_hh[16:] = 0
    left = cell(torch.zeros(1, 1), torch.ones(1, 8))
    u = cell.bias_ih[8:16].exp()
    torch.testing.assert_close(left[0], 1 - 1 / (1 + u))


@pytest.mark.parametrize("make", [LSTMCell, GRUCell])
def test_what_cannot_be_is_refused(make: type[LSTMCell] | type[GRUCell]) -> None:
    with pytest.raises(ValueError, match=r"chrono=1: .* at least 2 time steps"):
        make(3, 5, chrono=1)
    with pytest.raises(ValueError, match=r"chrono=9 needs bias=True"):
        make(3, 5, bias=False, chrono=9)


def test_two_wishes_for_one_bias_are_refused() -> None:
    with pytest.raises(ValueError, match=r"forget_bias=1\.0: chrono=9 sets the same bias"):
        LSTMCell(3, 5, forget_bias=1.0, chrono=9)
