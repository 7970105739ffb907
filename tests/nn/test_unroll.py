"""The loop over time, on a step whose result can be written down."""

from functools import partial

import torch
from torch import Tensor

from unrolled.nn.cells import State
from unrolled.nn.unroll import read_packed, unroll


def halve_and_add(x: Tensor, state: State) -> State:
    return (state[0] / 2 + x,)


def test_the_state_is_the_sum_of_the_inputs_each_halved_per_step() -> None:
    x = torch.randn(4, 2, 3, dtype=torch.float64)
    h = torch.randn(2, 3, dtype=torch.float64)
    y, (last,) = unroll(halve_and_add, x, (h,))
    torch.testing.assert_close(y[3], h / 16 + x[0] / 8 + x[1] / 4 + x[2] / 2 + x[3])
    assert torch.equal(last, y[3])


def test_in_reverse_outputs_keep_the_order_of_the_inputs() -> None:
    x, h = torch.randn(4, 2, 3), torch.zeros(2, 3)
    y, (last,) = unroll(halve_and_add, x, (h,), reverse=True)
    flipped, (wanted,) = unroll(halve_and_add, x.flip(0), (h,))
    assert torch.equal(y, flipped.flip(0))
    assert torch.equal(last, wanted)


def test_packed_rows_start_with_their_own_state_and_end_with_their_own_last_one() -> None:
    lengths, sizes = [5, 3, 3, 1], [4, 3, 3, 1, 1]
    x, h = torch.randn(5, 4, 2), torch.randn(4, 2)
    packed = torch.cat([x[t, :n] for t, n in enumerate(sizes)])
    for reverse in (False, True):
        y, (last,) = read_packed(partial(unroll, halve_and_add, reverse=reverse), packed, sizes, (h,), reverse)
        steps = y.split(sizes)
        for row, length in enumerate(lengths):
            own, (own_last,) = unroll(halve_and_add, x[:length, row : row + 1], (h[row : row + 1],), reverse)
            assert torch.equal(torch.stack([steps[t][row] for t in range(length)]), own[:, 0])
            assert torch.equal(last[row], own_last[0])


def test_no_row_is_stepped_past_its_end() -> None:
    seen = []

    def step(x: Tensor, state: State) -> State:
        seen.append(len(x))
        return halve_and_add(x, state)

    read_packed(partial(unroll, step), torch.randn(7, 2), [3, 3, 1], (torch.zeros(3, 2),))
    assert seen == [3, 3, 1]
