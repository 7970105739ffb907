"""The carried state of rows against indexing by hand."""

import torch

from unrolled.tbptt.carried import CarriedState


def carried(rows: int, seed: int) -> CarriedState:
    torch.manual_seed(seed)
    state = (torch.randn(2, rows, 3, requires_grad=True), torch.randn(1, rows, 5))
    masks = (torch.rand(1, rows, 4),)
    return CarriedState(state, masks, (torch.randn(rows, 3, requires_grad=True), torch.randn(rows, 1)))


def test_the_first_rows_go_on_and_the_others_leave() -> None:
    old = carried(4, 0)
    kept = old.first(3)
    assert [tuple(s.shape) for s in kept.state] == [(2, 3, 3), (1, 3, 5)]
    assert torch.equal(kept.state[0], old.state[0][:, :3])
    assert torch.equal(kept.masks[0], old.masks[0][:, :3])
    assert torch.equal(kept.pooled[0], old.pooled[0][:3])
    joined = CarriedState.join([kept, old.rest(3)])
    for part in ("state", "masks", "pooled"):
        assert all(torch.equal(a, b) for a, b in zip(getattr(joined, part), getattr(old, part), strict=True))


def test_detached_values_are_the_same_and_no_gradient_flows() -> None:
    old = carried(4, 0)
    new = old.detach()
    for a, b in zip((*old.state, *old.pooled), (*new.state, *new.pooled), strict=True):
        assert torch.equal(a, b)
        assert not b.requires_grad


def test_rows_that_start_a_document_are_renewed_and_no_others() -> None:
    old, fresh = carried(4, 0), carried(4, 1)
    starts = torch.tensor([False, True, False, True])
    new = old.renew(starts, fresh)
    for row, start in enumerate(starts.tolist()):
        source = fresh if start else old
        for i, s in enumerate(new.state):
            assert torch.equal(s[:, row], source.state[i][:, row])
        assert torch.equal(new.masks[0][:, row], source.masks[0][:, row])
        for i, p in enumerate(new.pooled):
            assert torch.equal(p[row], source.pooled[i][row])


def test_a_renewed_row_that_was_not_finite_leaves_no_trace() -> None:
    """0 * NaN is NaN: rows must be chosen, not weighted."""
    old, fresh = carried(2, 0), carried(2, 1)
    old.state[0].data[:, 1] = torch.nan
    new = old.renew(torch.tensor([False, True]), fresh)
    assert new.state[0].isfinite().all()
