"""The layer-normalised GRU against its equations in NumPy."""

import numpy as np
import torch

from unrolled.nn.cells import LayerNormGRUCell


def normal(a: np.ndarray) -> np.ndarray:
    return (a - a.mean(-1, keepdims=True)) / np.sqrt(a.var(-1, keepdims=True) + 1e-5)


def sigmoid(a: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-a))


def test_a_step_follows_the_equations() -> None:
    cell = LayerNormGRUCell(3, 5, dtype=torch.float64)
    with torch.no_grad():
        for weight in cell.parameters():
            weight.add_(torch.randn_like(weight) / 3)
    x, h = (torch.randn(4, size, dtype=torch.float64) for size in (3, 5))
    w = {name: p.detach().numpy() for name, p in cell.named_parameters()}
    from_x, from_h = x.numpy() @ w["weight_ih"].T, h.numpy() @ w["weight_hh"].T
    from_x = w["gain_ih"] * np.hstack([normal(from_x[:, :10]), normal(from_x[:, 10:])]) + w["bias_ih"]
    from_h = w["gain_hh"] * np.hstack([normal(from_h[:, :10]), normal(from_h[:, 10:])]) + w["bias_hh"]
    r, z = sigmoid(from_x + from_h)[:, :5], sigmoid(from_x + from_h)[:, 5:10]
    n = np.tanh(from_x[:, 10:] + r * from_h[:, 10:])
    np.testing.assert_allclose(cell(x, h).detach().numpy(), (1 - z) * n + z * h.numpy(), atol=1e-12)


def test_gains_start_at_one_and_all_else_as_in_a_gru() -> None:
    torch.manual_seed(0)
    plain = torch.nn.GRUCell(3, 5)
    torch.manual_seed(0)
    cell = LayerNormGRUCell(3, 5)
    for name, weight in plain.named_parameters():
        assert torch.equal(getattr(cell, name), weight)
    assert all(getattr(cell, gain).eq(1).all() for gain in ("gain_ih", "gain_hh"))
