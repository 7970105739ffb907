"""Poolings against the plain formulas over whole documents."""

import pytest
import torch
from tests.nn.build import POOLINGS
from torch import Tensor

from unrolled.nn.pooling import Attention, Max, Mean, Pooling

K, D = 7, 3
LENGTHS = [7, 4, 1, 0]


def make(name: str, dtype: torch.dtype = torch.float32) -> Pooling:
    """With random weights where there are any."""
    pooling = POOLINGS[name](D).to(dtype)
    for weight in pooling.parameters():
        torch.nn.init.normal_(weight, std=2.0)
    return pooling


def plain(name: str, outputs: Tensor, pooling: Pooling) -> Tensor:
    """The vector of one document's outputs (T, D)."""
    if not len(outputs):
        return torch.zeros(3 * D if name == "concat" else D, dtype=outputs.dtype)
    if isinstance(pooling, Attention):
        hidden = torch.tanh(outputs @ pooling.score.weight.T + pooling.score.bias)
        return (hidden @ pooling.query).softmax(0) @ outputs
    parts = {"last": outputs[-1], "max": outputs.max(0).values, "mean": outputs.mean(0)}
    return torch.cat([parts["last"], parts["max"], parts["mean"]]) if name == "concat" else parts[name]


def gathered(pooling: Pooling, outputs: Tensor, lengths: Tensor, chunk_len: int) -> Tensor:
    pooled = pooling.initial(len(lengths), outputs.device)
    for k, chunk in enumerate(outputs.split(chunk_len)):
        left = (lengths - k * chunk_len).clamp(0, len(chunk))
        pooled = pooling.update(pooled, chunk, left, full=bool((left == len(chunk)).all()))
    return pooling.value(pooled)


@pytest.mark.parametrize("name", POOLINGS)
@pytest.mark.parametrize("chunk_len", [1, 2, 3, 7])
def test_gathering_chunk_by_chunk_equals_the_formula_over_the_document(name: str, chunk_len: int) -> None:
    torch.manual_seed(0)
    pooling = make(name, torch.float64)
    outputs = torch.randn(K, len(LENGTHS), D, dtype=torch.float64, requires_grad=True)
    value = gathered(pooling, outputs, torch.tensor(LENGTHS), chunk_len)
    expected = torch.stack([plain(name, outputs[:length, b], pooling) for b, length in enumerate(LENGTHS)])
    torch.testing.assert_close(value, expected)
    assert value.shape == (len(LENGTHS), pooling.size)
    weights = torch.randn_like(value)
    wanted = [outputs, *pooling.parameters()]
    ours, theirs = (torch.autograd.grad((v * weights).sum(), wanted) for v in (value, expected))
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("name", POOLINGS)
def test_full_is_only_a_short_cut(name: str) -> None:
    pooling = make(name)
    outputs, lengths = torch.randn(K, 2, D), torch.tensor([K, K])
    pooled = pooling.initial(2, outputs.device)
    for long, short in zip(
        pooling.update(pooled, outputs, lengths), pooling.update(pooled, outputs, lengths, full=True), strict=True
    ):
        torch.testing.assert_close(long, short)


@pytest.mark.parametrize("name", POOLINGS)
def test_an_empty_document_has_a_finite_vector_and_gradient(name: str) -> None:
    pooling = make(name)
    outputs = torch.randn(1, 2, D, requires_grad=True)
    value = gathered(pooling, outputs, torch.tensor([0, 1]), 1)
    value.sum().backward()
    assert value.isfinite().all()
    assert outputs.grad is not None
    assert outputs.grad.isfinite().all()
    assert not outputs.grad[:, 0].any()


@pytest.mark.parametrize("name", POOLINGS)
@pytest.mark.parametrize("lower", [torch.bfloat16, torch.float16])
def test_statistics_are_kept_in_float32_whatever_the_outputs_are(name: str, lower: torch.dtype) -> None:
    """4,096 ones and one more are 4,096 in float16's sum and 256 in bfloat16's."""
    pooling = make(name)
    pooled = pooling.initial(1, torch.device("cpu"))
    with torch.autocast("cpu", dtype=lower):
        pooled = pooling.update(pooled, torch.ones(4097, 1, D, dtype=lower), torch.tensor([4097]), full=True)
        pooled = pooling.update(pooled, torch.ones(2, 1, D, dtype=lower), torch.tensor([1]))
    assert all(statistic.dtype == torch.float32 for statistic in pooled)
    if name == "mean":
        assert pooled[0].tolist() == [[4098.0] * D]


def test_the_first_of_equal_values_gets_the_gradient_of_max() -> None:
    """In one chunk or in many; torch's own amax would share it out, and chunks could not know."""
    for chunk_len in (1, 2, 6):
        outputs = torch.zeros(6, 1, D, requires_grad=True)
        gathered(Max(D), outputs, torch.tensor([6]), chunk_len).sum().backward()
        assert outputs.grad is not None
        assert outputs.grad[0, 0].tolist() == [1.0] * D
        assert not outputs.grad[1:].any()


def test_attention_begins_as_the_mean_and_learns_from_there() -> None:
    outputs, lengths = torch.randn(K, 4, D), torch.tensor(LENGTHS)
    attention, mean = Attention(D), Mean(D)
    value = gathered(attention, outputs, lengths, 2)
    torch.testing.assert_close(value, gathered(mean, outputs, lengths, 2))
    (value**2).sum().backward()
    assert isinstance(attention, Attention)
    assert attention.query.grad is not None
    assert (attention.query.grad != 0).all()


@pytest.mark.parametrize("size", [-1e4, 1e4])
def test_scores_of_any_size_neither_overflow_nor_vanish(size: float) -> None:
    """exp(1e4) is infinite, exp(-1e4) zero, in float64, too; chunks with far larger and far smaller scores."""
    attention = make("attention", torch.float64)
    assert isinstance(attention, Attention)
    with torch.no_grad():
        attention.query.mul_(size)
    outputs = torch.randn(K, 4, D, dtype=torch.float64, requires_grad=True)
    value = gathered(attention, outputs, torch.tensor(LENGTHS), 2)
    expected = torch.stack([plain("attention", outputs[:n, b], attention) for b, n in enumerate(LENGTHS)])
    torch.testing.assert_close(value, expected)
    value.sum().backward()
    assert outputs.grad is not None
    assert outputs.grad.isfinite().all()
