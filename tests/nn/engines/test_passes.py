"""The native passes against torch's operators, to the last bit, and what they leave to them."""

import shutil
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode

from unrolled.nn.chunk_statistics import chunk_statistics
from unrolled.nn.dropout import dropout
from unrolled.nn.engines import passes

pytestmark = pytest.mark.skipif(shutil.which("c++") is None, reason="no compiler")


@pytest.fixture(params=[1, 2], autouse=True)
def threads(request: pytest.FixtureRequest) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def both(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], list[Tensor]]], None]:
    """Runs a function with the native passes and without them: all tensors must be equal."""

    def compare(function: Callable[[], list[Tensor]]) -> None:
        assert passes.library() is not None
        native = function()
        with monkeypatch.context() as patch:
            patch.setattr(passes, "library", lambda: None)
            plain = function()
        for ours, theirs in zip(native, plain, strict=True):
            assert ours.dtype == theirs.dtype
            torch.testing.assert_close(ours, theirs, rtol=0, atol=0, equal_nan=True)

    return compare


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_dropout_and_its_gradient(both: Callable[..., None], rate: float) -> None:
    x = torch.randn(37, 53, 101, requires_grad=True)
    factors = torch.randn_like(x)

    def run() -> list[Tensor]:
        torch.manual_seed(0)
        y = dropout(x, rate, training=True)
        return [y, *torch.autograd.grad(y, x, factors)]

    both(run)


@pytest.mark.parametrize("lengths", [None, [37, 20, 1, 0, 37, 36, 5, 9, 37, 30, 2]], ids=["full", "rows end"])
@pytest.mark.parametrize("kind", ["plain", "ties", "not finite"])
def test_pooled_statistics_and_their_gradient(both: Callable[..., None], lengths: list[int] | None, kind: str) -> None:
    outputs = torch.randn(37, 11, 261)
    if kind == "ties":
        outputs = outputs.round()
    elif kind == "not finite":
        outputs[:, :3] = -torch.inf
        outputs[11:13, 1] = torch.nan
    outputs.requires_grad_()
    ends = torch.tensor(lengths or [37] * 11)
    factors = [torch.randn(11, 261) for _ in range(3)]

    def run() -> list[Tensor]:
        statistics = chunk_statistics(outputs, ends, full=lengths is None)
        return [*statistics, *torch.autograd.grad(statistics, outputs, factors)]

    both(run)


def test_everything_else_is_left_to_torch() -> None:
    x = torch.zeros(4, 4)
    assert passes.passes(x) is None  # autograd must see what happens to it
    with torch.no_grad():
        assert passes.passes(x, torch.nn.Parameter(x)) is not None
        others = [x.double(), x.bfloat16(), x.t()[1:], x.to("meta"), x.to_sparse(), x.as_subclass(Sub)]
        assert [passes.passes(x, other) for other in others] == [None] * len(others)
        assert torch.func.vmap(lambda row: row + (passes.passes(row) is not None))(x).sum() == 0
        with FakeTensorMode():
            assert passes.passes(torch.zeros(4)) is None


def test_small_weights_are_not_worth_a_second_thread() -> None:
    before = torch.get_num_threads()
    with passes.few_threads([torch.zeros(200, 512), torch.zeros(512)]):
        assert torch.get_num_threads() == 1
    with passes.few_threads([torch.zeros(2000, 512), torch.zeros(512)]):
        assert torch.get_num_threads() == before
    with passes.few_threads([]):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before


class Sub(Tensor):
    """Another kind of tensor."""
