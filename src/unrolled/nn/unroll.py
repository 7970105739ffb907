"""A cell unrolled over time: the engine `eager`, and rows of unequal length for every engine."""

from collections.abc import Callable, Sequence
from itertools import groupby

import torch
from torch import Tensor

from unrolled.nn.cells import State

Step = Callable[[Tensor, State], State]
"""One step of a recurrence whose weights are bound: its share of the input and a state -> the next state."""

Reads = Callable[[Tensor, State], tuple[Tensor, State]]
"""A recurrence whose weights are bound: a dense chunk (K, B, E) and a state -> outputs (K, B, S), the last state."""


def unroll(step: Step, inputs: Tensor, state: State, reverse: bool = False) -> tuple[Tensor, State]:
    """Take `step` through all time steps.

    inputs: (K, B, G), what the cell made of the inputs of all steps at once, time first so that a step's are one
    contiguous piece of memory; state: (B, S) each; reverse: from the last step to the first. Returns outputs (K, B, S),
    in the order of `inputs` also if reversed, and the state after the last step taken.
    """
    steps = inputs.unbind(0)  # not inputs[t]: the backward of unbind is one stack, of K indexings K full-size sums
    outputs = []
    for x in reversed(steps) if reverse else steps:
        state = step(x, state)
        outputs.append(state[0])
    if reverse:
        outputs.reverse()
    return torch.stack(outputs), state


def read_packed(
    read: Reads, x: Tensor, batch_sizes: Sequence[int], state: State, reverse: bool = False
) -> tuple[Tensor, State]:
    """Read rows of unequal length, without reading a padded step.

    Rows are sorted by length, longest first, and stored step after step, each step only the rows that have it: the
    layout of `torch.nn.utils.rnn.PackedSequence`. All steps with the same number of rows are one dense stretch.
    Forward, finished rows leave between stretches; in reverse, rows enter at their own last step.

    read: a recurrence over one dense stretch, in the direction that `reverse` says; x: (N, E), N steps of all rows
    together; batch_sizes: number of rows at each step, never rising; state: before each row's first step, (B, S) each,
    B = batch_sizes[0]. Returns outputs (N, S), in the order of `x`, and the state after each row's last step taken.
    """
    stretches = [(rows, len(list(same))) for rows, same in groupby(batch_sizes)]  # rows and steps of each
    parts = x.split([rows * steps for rows, steps in stretches])
    order = range(len(stretches) - 1, -1, -1) if reverse else range(len(stretches))
    first, outputs, finished = state, [], []
    state = tuple(s[: stretches[order[0]][0]] for s in first)
    for k in order:
        rows, steps = stretches[k]
        present = state[0].shape[0]
        if rows < present:
            finished.append(tuple(s[rows:] for s in state))
            state = tuple(s[:rows] for s in state)
        elif rows > present:
            state = tuple(torch.cat([s, s0[present:rows]]) for s, s0 in zip(state, first, strict=True))
        y, state = read(parts[k].view(steps, rows, parts[k].shape[-1]), state)
        outputs.append(y.flatten(0, 1))
    if reverse:
        outputs.reverse()
    last = zip(state, *reversed(finished), strict=True)  # longest rows first again
    return torch.cat(outputs), tuple(torch.cat(rows_of_state) for rows_of_state in last)
