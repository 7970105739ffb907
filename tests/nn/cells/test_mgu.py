"""The minimal gated unit against its equations in NumPy."""

import numpy as np
import torch

from unrolled.nn.cells import MGUCell


def test_a_step_follows_the_equations() -> None:
    cell = MGUCell(3, 5, dtype=torch.float64)
    x, h = torch.randn(4, 3, dtype=torch.float64), torch.randn(4, 5, dtype=torch.float64)
    W, U, b_x, b_h = (p.detach().numpy() for p in cell.parameters())
    W_f, W_n, U_f, U_n, b = W[:5], W[5:], U[:5], U[5:], b_x + b_h
    f = 1 / (1 + np.exp(-(x.numpy() @ W_f.T + h.numpy() @ U_f.T + b[:5])))
    n = np.tanh(x.numpy() @ W_n.T + (f * h.numpy()) @ U_n.T + b[5:])
    np.testing.assert_allclose(cell(x, h).detach().numpy(), (1 - f) * h.numpy() + f * n, atol=1e-12)
