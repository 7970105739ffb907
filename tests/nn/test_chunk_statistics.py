"""The oracle is autograd over torch's own operators, and finite differences."""

import pytest
import torch
from torch import Tensor

from unrolled.nn.chunk_statistics import chunk_statistics

K, B, D = 6, 4, 3
LENGTHS = {True: [K, K, K, K], False: [K, 4, 1, 0]}


def plain(outputs: Tensor, lengths: list[int]) -> tuple[Tensor, Tensor, Tensor]:
    rows = [outputs[:length, row] for row, length in enumerate(lengths)]
    zero = torch.zeros(D, dtype=outputs.dtype)
    last = torch.stack([row[-1] if len(row) else zero for row in rows])
    largest = torch.stack([row.max(0).values if len(row) else zero - torch.inf for row in rows])
    return last, largest, torch.stack([row.sum(0) for row in rows])


@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize("ties", [False, True])
def test_values_and_gradients_are_those_of_torchs_operators(full: bool, ties: bool) -> None:
    torch.manual_seed(0)
    outputs = torch.randn(K, B, D, dtype=torch.float64)
    outputs = (outputs.round() if ties else outputs).requires_grad_()
    found = chunk_statistics(outputs, torch.tensor(LENGTHS[full]), full)
    expected = plain(outputs, LENGTHS[full])
    weights = [torch.randn(B, D, dtype=torch.float64) for _ in range(3)]
    losses = [
        sum((torch.where(s.isfinite(), s, 0.0) * w).sum() for s, w in zip(statistics, weights, strict=True))
        for statistics in (found, expected)
    ]
    torch.testing.assert_close(found, expected)
    ours, theirs = (torch.autograd.grad(loss, outputs)[0] for loss in losses)  # type: ignore[arg-type]
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("full", [True, False])
def test_gradients_are_those_of_finite_differences(full: bool) -> None:
    torch.manual_seed(0)
    outputs = torch.randn(K, B, D, dtype=torch.float64, requires_grad=True)
    lengths = torch.tensor(LENGTHS[full]).clamp(min=1)

    def statistics(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return chunk_statistics(x, lengths, full)

    assert torch.autograd.gradcheck(statistics, (outputs,))


@pytest.mark.parametrize("full", [True, False])
def test_lower_precision_is_summed_in_float32(full: bool) -> None:
    outputs = torch.ones(4097, 1, 1, dtype=torch.bfloat16, requires_grad=True)
    found = chunk_statistics(outputs, torch.tensor([4097]), full)
    assert [s.dtype for s in found] == [torch.float32] * 3
    assert found[2].item() == 4097
    found[2].sum().backward()
    assert outputs.grad is not None
    assert outputs.grad.dtype == torch.bfloat16


def test_of_a_single_step_all_three_gradients_add_up() -> None:
    """The gradient of the sum, which what it is added to shares, is not written over."""
    before = torch.randn(B, D, dtype=torch.float64, requires_grad=True)
    sofar = 2 * before
    outputs = torch.randn(1, B, D, dtype=torch.float64, requires_grad=True)
    last, largest, total = chunk_statistics(outputs, torch.ones(B, dtype=torch.int64), full=True)
    (last.sum() + 2 * largest.sum() + (3 * (sofar + total)).sum()).backward()
    assert outputs.grad is not None
    torch.testing.assert_close(outputs.grad, torch.full_like(outputs, 6.0))
    assert before.grad is not None
    torch.testing.assert_close(before.grad, torch.full_like(before, 6.0))
