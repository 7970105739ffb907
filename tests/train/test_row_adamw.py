"""The oracle is torch.optim.AdamW with dense gradients, and the recursion of the moving average over all rows."""

import copy
import platform
import shutil
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from unrolled.nn.engines import passes
from unrolled.train import row_adamw
from unrolled.train.row_adamw import RowAdamW, Rows, clip_gradients

V, E = 40, 5
LR, DECAY, SHARE = 0.01, 0.05, 0.1
NONE = 1e-30  # with an eps of zero dense AdamW divides zero by zero where there was no gradient


def sparse(ids: Tensor, values: Tensor) -> Tensor:
    return torch.sparse_coo_tensor(ids.unsqueeze(0), values, (V, E), check_invariants=True)


def gradients(steps: int, dtype: torch.dtype, scale: float = 1e-2) -> Iterator[tuple[float, Tensor, Tensor]]:
    """Learning rate, rows and their gradients; some steps have none, and half of the rows none after a while."""
    generator = torch.Generator().manual_seed(0)
    for step in range(steps):
        ids = torch.randperm(V, generator=generator)[: 4 if step % 30 else 0].sort().values
        ids = ids[ids < V // 2] if step > steps // 2 else ids
        yield LR * (1 - step / steps), ids, scale * torch.randn(len(ids), E, generator=generator, dtype=dtype)


def compare(steps: int, dtype: torch.dtype, eps: float, scale: float = 1e-2) -> dict[str, float]:
    """The largest differences from dense AdamW after ``steps``, rows being looked up in between."""
    dense = nn.Parameter(torch.randn(V, E, dtype=dtype))
    weight = nn.Parameter(dense.detach().clone())
    optimizer = torch.optim.AdamW([dense], lr=LR, weight_decay=DECAY, eps=eps)
    rows = Rows(weight, (0.9, 0.999), eps)
    expected, average = dense.detach().clone(), weight.detach().clone()
    rows.attach(average)
    for lr, ids, values in gradients(steps, dtype, scale):
        dense.grad = torch.zeros(V, E, dtype=dtype).index_copy(0, ids, values)
        optimizer.param_groups[0]["lr"] = lr
        optimizer.step()
        expected.lerp_(dense.detach(), SHARE)
        rows.step(sparse(ids, values), lr, DECAY)
        rows.follow(SHARE)
        rows.catch_up(torch.arange(0, V, 7))
    assert not torch.equal(weight, dense), "most rows are behind"
    rows.flush()
    return {
        "weight": float((weight - dense).detach().abs().max()),
        "average": float((average - expected).abs().max()),
    }


def test_without_eps_it_is_dense_adamw_to_rounding() -> None:
    assert max(compare(300, torch.float64, eps=NONE).values()) < 1e-13
    assert max(compare(300, torch.float32, eps=NONE).values()) < 1e-5


def test_full_tables_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_adamw, "SPAN", 7)
    monkeypatch.setattr(row_adamw, "AT_ONCE", 3)
    assert max(compare(100, torch.float64, eps=NONE).values()) < 1e-13


@pytest.mark.parametrize(("scale", "bound"), [(1e-2, 1e-5), (1e-5, 3e-3), (1e-7, 3e-2)])
def test_with_eps_the_difference_is_small_against_the_moves(scale: float, bound: float) -> None:
    """Every element moves by about 0.2 in these steps; gradients are as small as 1e-7, eps is 1e-8."""
    assert max(compare(200, torch.float64, eps=1e-8, scale=scale).values()) < bound


def trained(rows: Rows, steps: int, most: int) -> list[Tensor]:
    """Everything that ``rows`` hold after some steps for at most so many of them; some steps have dense gradients."""
    generator = torch.Generator().manual_seed(1)
    shape = rows.weight.shape
    rows.attach(rows.weight.clone())
    for step in range(steps):
        ids = torch.randperm(shape[0], generator=generator)[: most * step // steps].sort().values
        values = torch.randn(len(ids), shape[1], generator=generator)
        gradient = torch.sparse_coo_tensor(ids.unsqueeze(0), values, shape, check_invariants=True)
        rows.step(gradient.to_dense() if step % 4 == 1 else gradient, LR, DECAY)
        rows.follow(SHARE)
        rows.catch_up(torch.arange(shape[0])[:: step + 1])
    shown = rows.up_to_date()
    assert rows.average is not None
    return [t.clone() for t in (rows.weight, rows.average, rows.exp_avg, rows.exp_avg_sq, *shown) if t is not None]


@pytest.mark.skipif(shutil.which("c++") is None, reason="no compiler")
@pytest.mark.parametrize(("threads", "betas"), [(1, (0.9, 0.999)), (2, (0.3, 0.6))])
def test_native_passes_are_torchs_operators(
    threads: int, betas: tuple[float, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the last bit, at every width: in the last elements of an array torch's operators round in another order."""
    assert passes.library() is not None
    monkeypatch.setattr(row_adamw, "AT_ONCE", 64)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    for width in (1, 8, 13, 100, 205):
        weight = torch.randn(700, width)
        native = trained(Rows(nn.Parameter(weight.clone()), betas, 1e-8), 9, most=350)
        with monkeypatch.context() as patch:
            patch.setattr(passes, "library", lambda: None)
            plain = trained(Rows(nn.Parameter(weight.clone()), betas, 1e-8), 9, most=350)
        for ours, theirs in zip(native, plain, strict=True):
            if platform.machine() in ("x86_64", "AMD64"):
                assert torch.equal(ours, theirs)
            else:  # how torch has been compiled there has not been looked at
                torch.testing.assert_close(ours, theirs)
    torch.set_num_threads(before)


class Model(nn.Module):
    """An embedding by rows, and something else."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.words = nn.Parameter(torch.randn(V, E))
        self.other = nn.Parameter(torch.randn(3))

    def step(self, optimizer: torch.optim.Optimizer, lr: float, ids: Tensor, values: Tensor) -> None:
        self.other.grad = values.sum().repeat(3) + self.other.detach()
        by_rows = isinstance(optimizer, RowAdamW) and optimizer.all_rows()
        self.words.grad = sparse(ids, values) if by_rows else sparse(ids, values).to_dense()
        optimizer.param_groups[0]["lr"] = lr
        optimizer.step()


def optimizer_of(model: Model) -> RowAdamW:
    optimizer = RowAdamW(model.parameters(), lr=LR, weight_decay=DECAY, eps=NONE)
    optimizer.rows(model.words)
    return optimizer


def test_other_parameters_are_torchs_own() -> None:
    ours, theirs = Model(), Model()
    optimizer = optimizer_of(ours)
    oracle = torch.optim.AdamW(theirs.parameters(), lr=LR, weight_decay=DECAY, eps=NONE, fused=True)
    for given in gradients(20, torch.float32):
        ours.step(optimizer, *given)
        theirs.step(oracle, *given)
    optimizer.rows(ours.words).flush()
    assert torch.equal(ours.other, theirs.other)
    torch.testing.assert_close(ours.words, theirs.words, rtol=0, atol=1e-5)


def test_without_named_rows_it_is_torchs_own_optimizer() -> None:
    ours, theirs = Model(), Model()
    optimizer = RowAdamW(ours.parameters(), lr=LR, weight_decay=DECAY)
    oracle = torch.optim.AdamW(theirs.parameters(), lr=LR, weight_decay=DECAY, fused=True)
    for given in gradients(5, torch.float32):
        ours.step(optimizer, *given)
        theirs.step(oracle, *given)
    assert torch.equal(ours.words, theirs.words)
    assert optimizer.state_dict()["state"].keys() == oracle.state_dict()["state"].keys()


def averaged(model: Model, optimizer: RowAdamW, average: Tensor, steps: list[tuple[float, Tensor, Tensor]]) -> None:
    for given in steps:
        model.step(optimizer, *given)
        optimizer.rows(model.words).follow(SHARE)


def test_a_saved_run_goes_on_bit_for_bit_and_saving_changes_nothing(tmp_path) -> None:
    steps = list(gradients(40, torch.float32))
    model = Model()
    optimizer = optimizer_of(model)
    average = model.words.detach().clone()
    optimizer.rows(model.words).attach(average)
    averaged(model, optimizer, average, steps[:25])
    shown, shown_average = optimizer.rows(model.words).up_to_date()
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "average": average}, tmp_path / "a")

    again = Model()
    saved = torch.load(tmp_path / "a", weights_only=True)
    again.load_state_dict({**saved["model"], "words": shown})  # a checkpoint shows the weights as they ought to be
    resumed = optimizer_of(again)
    resumed.load_state_dict(saved["optimizer"])
    other = torch.zeros(V, E)
    resumed.rows(again.words).attach(other)
    averaged(again, resumed, other, steps[25:])
    averaged(model, optimizer, average, steps[25:])
    for one in (optimizer.rows(model.words), resumed.rows(again.words)):
        one.flush()
    assert torch.equal(again.words, model.words)
    assert torch.equal(again.other, model.other)
    assert torch.equal(other, average)
    assert shown_average is not None
    assert not torch.equal(shown, model.words)


def test_what_is_shown_is_what_a_flush_leaves() -> None:
    model = Model()
    optimizer = optimizer_of(model)
    average = model.words.detach().clone()
    rows = optimizer.rows(model.words)
    rows.attach(average)
    averaged(model, optimizer, average, list(gradients(12, torch.float32)))
    before = model.words.detach().clone()
    shown, shown_average = rows.up_to_date()
    assert torch.equal(model.words, before)
    rows.flush()
    assert torch.equal(shown, model.words)
    assert shown_average is not None
    assert torch.equal(shown_average, average)
    assert not torch.equal(before, model.words)


def test_the_state_of_torchs_optimizer_can_be_taken_over() -> None:
    """A run that was begun with dense gradients goes on by rows."""
    ours, theirs = Model(), Model()
    oracle = torch.optim.AdamW(theirs.parameters(), lr=LR, weight_decay=DECAY, eps=NONE, fused=True)
    steps = list(gradients(30, torch.float32))
    for given in steps[:15]:
        theirs.step(oracle, *given)
    ours.load_state_dict(copy.deepcopy(theirs.state_dict()))
    optimizer = optimizer_of(ours)
    optimizer.load_state_dict(copy.deepcopy(oracle.state_dict()))
    for given in steps[15:]:
        ours.step(optimizer, *given)
        theirs.step(oracle, *given)
    optimizer.rows(ours.words).flush()
    torch.testing.assert_close(ours.words, theirs.words, rtol=0, atol=1e-5)


@pytest.mark.parametrize("by_value", [False, True])
def test_clipping_is_torchs_with_dense_gradients(by_value: bool) -> None:
    ours, theirs = Model(), Model()
    twice = torch.tensor([2, 9, 2])  # as after two batches whose gradients are added up
    values = torch.randn(3, E)
    ours.words.grad, theirs.words.grad = sparse(twice, values), sparse(twice, values).to_dense()
    ours.other.grad, theirs.other.grad = torch.ones(3), torch.ones(3)
    clip_gradients(ours.parameters(), 0.5, by_value)
    if by_value:
        nn.utils.clip_grad_value_(theirs.parameters(), 0.5)
    else:
        nn.utils.clip_grad_norm_(theirs.parameters(), 0.5)
    torch.testing.assert_close(ours.words.grad.to_dense(), theirs.words.grad)
    torch.testing.assert_close(ours.other.grad, theirs.other.grad)


def test_small_gradients_are_not_clipped() -> None:
    model = Model()
    model.other.grad = torch.full((3,), 0.01)
    clip_gradients(model.parameters(), 0.5)
    assert torch.equal(model.other.grad, torch.full((3,), 0.01))
