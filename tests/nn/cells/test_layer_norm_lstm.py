"""The layer-normalised LSTM against its equations in NumPy."""

import numpy as np
import torch

from unrolled.nn.cells import LayerNormLSTMCell


def normal(a: np.ndarray) -> np.ndarray:
    return (a - a.mean(-1, keepdims=True)) / np.sqrt(a.var(-1, keepdims=True) + 1e-5)


def sigmoid(a: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-a))


def test_a_step_follows_the_equations() -> None:
    cell = LayerNormLSTMCell(3, 5, dtype=torch.float64)
    with torch.no_grad():
        for weight in cell.parameters():
            weight.add_(torch.randn_like(weight) / 3)
    x, h, c = (torch.randn(4, size, dtype=torch.float64) for size in (3, 5, 5))
    w = {name: p.detach().numpy() for name, p in cell.named_parameters()}
    a = w["gain_ih"] * normal(x.numpy() @ w["weight_ih"].T) + w["gain_hh"] * normal(h.numpy() @ w["weight_hh"].T)
    i, f, g, o = np.split(a + w["bias_ih"] + w["bias_hh"], 4, axis=-1)
    memory = sigmoid(f) * c.numpy() + sigmoid(i) * np.tanh(g)
    output = sigmoid(o) * np.tanh(w["gain_c"] * normal(memory) + w["shift_c"])
    ours = cell(x, (h, c))
    np.testing.assert_allclose(ours[0].detach().numpy(), output, atol=1e-12)
    np.testing.assert_allclose(ours[1].detach().numpy(), memory, atol=1e-12)


def test_gains_start_at_one_the_shift_at_zero_and_all_else_as_in_an_lstm() -> None:
    torch.manual_seed(0)
    plain = torch.nn.LSTMCell(3, 5)
    torch.manual_seed(0)
    cell = LayerNormLSTMCell(3, 5)
    for name, weight in plain.named_parameters():
        assert torch.equal(getattr(cell, name), weight)
    assert all(getattr(cell, gain).eq(1).all() for gain in ("gain_ih", "gain_hh", "gain_c"))
    assert cell.shift_c.eq(0).all()


def test_the_scale_of_an_input_does_not_matter_without_recurrence_and_bias() -> None:
    cell = LayerNormLSTMCell(3, 5, bias=False)
    x = torch.randn(4, 3)
    torch.testing.assert_close(cell(1000 * x)[1], cell(2000 * x)[1], atol=1e-4, rtol=0)
    plain = torch.nn.LSTMCell(3, 5, bias=False)
    assert not torch.allclose(plain(x)[1], plain(2 * x)[1], atol=1e-4)
