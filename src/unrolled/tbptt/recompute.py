"""Reading that keeps one chunk's activations at a time: the others are computed again in the backward pass.

After Gruslys et al. (2016), with a checkpoint at each chunk's beginning. `torch.utils.checkpoint` around each chunk
would keep every chunk's graph (or, with `use_reentrant`, run a backward pass per chunk, which DistributedDataParallel
does not bear), 5 kB of generator state per chunk, and make a gradient as large as the vocabulary per chunk. Here all
chunks are one node of the graph, what enters each chunk lies in a few long tensors, and gradients are summed in place.
"""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from unrolled.nn.autocast import autocast_dtype
from unrolled.nn.cells import State
from unrolled.tbptt.batch import Block
from unrolled.tbptt.carried import CarriedState
from unrolled.tbptt.loop import ChunkLoop


def recomputed(
    loop: ChunkLoop, blocks: Sequence[Block], flat: Tensor, carried: CarriedState
) -> tuple[Tensor | None, CarriedState]:
    """The same as ``loop(blocks, flat, carried)``, in values, in gradients and in what is dropped."""
    states = len(carried.state)
    parameters = [*loop.encoder.parameters(), *(loop.pooling.parameters() if loop.pooling else ())]
    parameters = [p for p in parameters if p.requires_grad]
    table = loop.embedding.weight  # what its lookups add up to is this node's own affair
    tensors = (*carried.state, *carried.pooled)
    result = _Recomputed.apply(loop, blocks, carried.masks, states, len(tensors), flat, table, *tensors, *parameters)
    outputs, result = (result[0], result[1:]) if loop.pooling is None else (None, result)
    return outputs, CarriedState(tuple(result[:states]), carried.masks, tuple(result[states:]))


class _Recomputed(torch.autograd.Function):
    """Inputs: ids or vectors, the embedding's table, first carried state, parameters. Outputs: outputs, last state."""

    @staticmethod
    def forward(
        ctx: Any,
        loop: ChunkLoop,
        blocks: Sequence[Block],
        masks: State,
        states: int,
        carried: int,
        flat: Tensor,
        table: Tensor,
        *tensors: Tensor,
    ) -> tuple[Tensor, ...]:
        entered = _Entered(blocks, states, masks)
        outputs, after = loop(
            blocks, flat, CarriedState(tensors[:states], masks, tensors[states:carried]), entering=entered
        )
        ctx.loop, ctx.blocks, ctx.entered = loop, blocks, entered
        ctx.rows_on = (1,) * states + (0,) * (carried - states)  # the dimension of rows
        device = flat.device.type
        lower = autocast_dtype(device)
        ctx.autocast = {"device_type": device, "enabled": lower is not None, "dtype": lower}
        ctx.save_for_backward(flat, table, *tensors)
        last = (*after.state, *after.pooled)
        return last if outputs is None else (outputs, *last)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        loop: ChunkLoop = ctx.loop
        flat, table, *tensors = ctx.saved_tensors
        first, parameters = tensors[: len(ctx.rows_on)], tensors[len(ctx.rows_on) :]
        of_outputs = gradients[0] if loop.pooling is None else None
        by_carried = [  # rows that have left wait here for their last chunk
            gradient.clone() for gradient in gradients[loop.pooling is None :]
        ]
        by_parameters = [torch.zeros_like(parameter) for parameter in parameters]
        by_flat = torch.zeros_like(flat) if flat.is_floating_point() else None
        by_table = torch.zeros_like(table) if by_flat is None and ctx.needs_input_grad[6] else None
        end = len(flat)
        for k in reversed(range(len(ctx.blocks))):
            block = ctx.blocks[k]
            begin = end - block.tokens.numel()
            part, end = flat[begin:end], begin
            x = loop.vectors(part, block).detach().flatten(0, 1)
            x.requires_grad_(by_flat is not None or by_table is not None)
            entering = [t.detach().requires_grad_() for t in ctx.entered.tensors(k, first)]
            with torch.enable_grad(), torch.autocast(**ctx.autocast):
                outputs, after = loop([block], x, ctx.entered.carried(entering, block.rows), first=k)
            of_rows = [
                gradient.narrow(dim, 0, block.rows) for gradient, dim in zip(by_carried, ctx.rows_on, strict=True)
            ]
            ends = [*after.state, *after.pooled]
            by_ends = [*of_rows]
            if outputs is not None and of_outputs is not None:
                ends.append(outputs)
                by_ends.append(of_outputs[begin : begin + len(part)])
            by_x, *others = _gradients(ends, by_ends, [x, *entering, *parameters])
            for sofar, new in zip(of_rows, others, strict=False):
                sofar.copy_(new) if new is not None else sofar.zero_()
            for total, new in zip(by_parameters, others[len(entering) :], strict=True):
                if new is not None:
                    total += new
            if by_x is not None and by_flat is not None:
                by_flat[begin : begin + len(part)] = by_x
            elif by_x is not None and by_table is not None:
                by_table.index_add_(0, part, by_x.to(by_table.dtype))
        if by_table is not None and loop.embedding.padding_idx is not None:
            by_table[loop.embedding.padding_idx] = 0
        return None, None, None, None, None, by_flat, by_table, *by_carried, *by_parameters


def _gradients(ends: list[Tensor], by_ends: list[Tensor], wanted: list[Tensor]) -> list[Tensor | None]:
    """Of a loss by ``wanted``, None where it does not depend on it, from its gradients by ``ends``."""
    pairs = [(y, gradient.to(y.dtype)) for y, gradient in zip(ends, by_ends, strict=True) if y.requires_grad]
    asked = [i for i, tensor in enumerate(wanted) if tensor.requires_grad]
    gradients: list[Tensor | None] = [None] * len(wanted)
    if pairs and asked:
        found = torch.autograd.grad(
            [y for y, _ in pairs], [wanted[i] for i in asked], [g for _, g in pairs], allow_unused=True
        )
        for i, gradient in zip(asked, found, strict=True):
            gradients[i] = gradient
    return gradients


class _Entered:
    """What each chunk begins with: state and statistics of its rows, all chunks of one tensor in one long tensor."""

    def __init__(self, blocks: Sequence[Block], states: int, masks: State) -> None:
        self.states = states
        self.masks = masks
        self.rows = [block.rows for block in blocks]
        # Chunk k's rows are place[k - 1] .. place[k]; what the first one begins with is kept elsewhere.
        self.place = [0, *accumulate(self.rows[1:])]
        self.kept: list[Tensor] = []

    def __call__(self, k: int, carried: CarriedState) -> None:
        if k == 0:
            return
        tensors = [*carried.state, *carried.pooled]
        if not self.kept:  # now dtypes are those that all further chunks have
            self.kept = [t.new_empty(t.numel() // self.rows[1] * self.place[-1]) for t in tensors]
        for tensor, kept in zip(tensors, self.kept, strict=True):
            size = tensor.numel() // self.rows[k]
            kept[self.place[k - 1] * size : self.place[k] * size] = tensor.flatten()

    def tensors(self, k: int, first: list[Tensor]) -> list[Tensor]:
        """What chunk ``k`` began with; ``first`` is what the first one did."""
        if k == 0:
            return first
        found = []
        for i, (kept, like) in enumerate(zip(self.kept, first, strict=True)):
            size = len(kept) // self.place[-1]
            rows = self.rows[k]
            shape = (like.shape[0], rows, *like.shape[2:]) if i < self.states else (rows, *like.shape[1:])
            found.append(kept[self.place[k - 1] * size : self.place[k] * size].view(shape))
        return found

    def carried(self, tensors: list[Tensor], rows: int) -> CarriedState:
        """These tensors as a carried state, with the rows' shared dropout masks."""
        masks = tuple(mask[:, :rows] for mask in self.masks)
        return CarriedState(tuple(tensors[: self.states]), masks, tuple(tensors[self.states :]))
