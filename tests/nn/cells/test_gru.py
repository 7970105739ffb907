"""Where the GRU's reset gate stands."""

import torch

from unrolled.nn.cells import GRUCell


def test_the_reset_gate_acts_after_the_product_with_the_bias_inside() -> None:
    """With r closed, neither U_n h nor d_n reaches the candidate; with r open, both do."""
    cell = GRUCell(3, 5)
    x, h = torch.zeros(2, 3), torch.randn(2, 5)
    with torch.no_grad():
        cell.bias_ih.zero_()
        cell.bias_hh[5:10] = -50  # z = 0: the new state is the candidate
        cell.bias_hh[:5] = -50  # r = 0
        torch.testing.assert_close(cell(x, h), torch.zeros(2, 5))
        cell.bias_hh[:5] = 50  # r = 1
        wanted = torch.tanh(h @ cell.weight_hh[10:].t() + cell.bias_hh[10:])
    torch.testing.assert_close(cell(x, h), wanted)


def test_an_open_update_gate_keeps_the_state() -> None:
    cell = GRUCell(3, 5)
    h = torch.randn(2, 5)
    with torch.no_grad():
        cell.bias_hh[5:10] = 50
    torch.testing.assert_close(cell(torch.randn(2, 3), h), h)
