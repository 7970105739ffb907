"""Reading that keeps one chunk's activations at a time: the others are computed again in the backward pass.

After Gruslys et al. (2016), with a checkpoint at each chunk's beginning. `torch.utils.checkpoint` around each chunk
would keep every chunk's graph (or, with `use_reentrant`, run a backward pass per chunk, which DistributedDataParallel
does not bear), 5 kB of generator state per chunk, and make a gradient as large as the vocabulary per chunk. Here all
chunks are one node of the graph, what enters each chunk lies in a few long tensors, and gradients are summed in place.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from unrolled.nn.autocast import autocast_dtype
from unrolled.tbptt.batch import Block
from unrolled.tbptt.carried import CarriedState
from unrolled.tbptt.loop import ChunkLoop, Entering


@dataclass(frozen=True)
class Reading:
    """One way through a batch: of the whole encoder, or of one direction of a layer."""

    loop: ChunkLoop
    carried: CarriedState
    order: Tensor | None = None  # (N,) which position is read at each, its own inverse; None: as they lie


def read_without_graph(
    readings: Sequence[Reading], blocks: Sequence[Block], flat: Tensor, entering: Sequence[Entering] = ()
) -> tuple[Tensor | None, list[CarriedState]]:
    """The outputs of all ``readings`` side by side (N, D), if they are not pooled, and the carried state of each.

    flat: token ids (N,) or vectors (N, E); entering: of each reading, as `ChunkLoop` takes it.
    """
    together, after = None, []
    for number, reading in enumerate(readings):
        told = entering[number] if entering else None
        outputs, last = reading.loop(blocks, flat, reading.carried, entering=told, order=reading.order)
        after.append(last)
        if outputs is None or len(readings) == 1:
            together = outputs
            continue
        width = outputs.shape[1]
        if together is None:
            together = outputs.new_empty(len(outputs), len(readings) * width)
        places: Any = slice(None) if reading.order is None else reading.order
        together[places, number * width : (number + 1) * width] = outputs
        del outputs  # or the next reading's would come on top of it
    return together, after


def recomputed(
    readings: Sequence[Reading], blocks: Sequence[Block], flat: Tensor
) -> tuple[Tensor | None, list[CarriedState]]:
    """The same as `read_without_graph`, in values and in what is dropped, with gradients.

    All readings are one node, so that they share what is as long as the documents: inputs and the gradients by them.
    """
    tensors: list[Tensor] = []
    parts = [_Part(reading, blocks, tensors) for reading in readings]
    table = readings[0].loop.embedding.weight  # what its lookups add up to is this node's own affair
    result = iter(_Recomputed.apply(parts, blocks, flat, table, *tensors))
    outputs = next(result) if readings[0].loop.pooling is None else None
    return outputs, [part.carried([next(result) for _ in part.on_rows]) for part in parts]


class _Part:
    """A reading inside the node, and which of the node's ``tensors`` are its first carried state and parameters."""

    def __init__(self, reading: Reading, blocks: Sequence[Block], tensors: list[Tensor]) -> None:
        self.loop, self.order, first = reading.loop, reading.order, reading.carried
        self.masks, self.states = first.masks, len(first.state)
        self.on_rows = (1,) * self.states + (0,) * len(first.pooled)  # the dimension of rows
        parameters = [*self.loop.encoder.parameters(), *(self.loop.pooling.parameters() if self.loop.pooling else ())]
        begin, end = len(tensors), len(tensors) + len(self.on_rows)
        tensors += [*first.state, *first.pooled, *(p for p in parameters if p.requires_grad)]
        self.first, self.parameters = slice(begin, end), slice(end, len(tensors))
        self.entered = _Entered(blocks, self.states)

    def carried(self, tensors: Sequence[Tensor], rows: int | None = None) -> CarriedState:
        """These tensors as a carried state, with the rows' shared dropout masks."""
        masks = tuple(mask[:, :rows] for mask in self.masks)
        return CarriedState(tuple(tensors[: self.states]), masks, tuple(tensors[self.states :]))


class _Recomputed(torch.autograd.Function):
    """Inputs: ids or vectors, embedding's table, first carried states, parameters. Outputs: outputs, last states."""

    @staticmethod
    def forward(
        ctx: Any, parts: Sequence[_Part], blocks: Sequence[Block], flat: Tensor, table: Tensor, *tensors: Tensor
    ) -> tuple[Tensor, ...]:
        readings = [Reading(part.loop, part.carried(tensors[part.first]), part.order) for part in parts]
        outputs, after = read_without_graph(readings, blocks, flat, [part.entered for part in parts])
        ctx.parts, ctx.blocks = parts, blocks
        device = flat.device.type
        lower = autocast_dtype(device)
        ctx.autocast = {"device_type": device, "enabled": lower is not None, "dtype": lower}
        ctx.save_for_backward(flat, table, *tensors)
        last = [tensor for carried in after for tensor in (*carried.state, *carried.pooled)]
        return tuple(last) if outputs is None else (outputs, *last)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        flat, table, *tensors = ctx.saved_tensors
        parts: Sequence[_Part] = ctx.parts
        of_last = iter(gradients)
        of_outputs = next(of_last) if parts[0].loop.pooling is None else None
        by_flat = torch.zeros_like(flat) if flat.is_floating_point() else None
        by_table = None
        by_tensors: list[Tensor] = []
        for number, part in enumerate(parts):
            by_carried = [next(of_last).clone() for _ in part.on_rows]  # rows that have left wait for their last chunk
            by_parameters = [torch.zeros_like(parameter) for parameter in tensors[part.parameters]]
            columns = None
            if of_outputs is not None:
                width = of_outputs.shape[1] // len(parts)
                columns = of_outputs[:, number * width : (number + 1) * width]
            own = torch.zeros_like(table) if by_flat is None and ctx.needs_input_grad[3] else None
            _go_back(ctx, part, columns, by_carried, by_parameters, by_flat if own is None else own)
            if own is not None:
                by_table = own if by_table is None else by_table.add_(own)
            by_tensors += [*by_carried, *by_parameters]
        padding = parts[0].loop.embedding.padding_idx
        if by_table is not None and padding is not None:
            by_table[padding] = 0
        return None, None, by_flat, by_table, *by_tensors


def _go_back(
    ctx: Any,
    part: _Part,
    of_outputs: Tensor | None,
    by_carried: list[Tensor],
    by_parameters: list[Tensor],
    by_inputs: Tensor | None,
) -> None:
    """Compute the chunks of one reading again, from the last to the first, and put gradients into the `by_` tensors.

    of_outputs: (N, D) the gradient by this reading's outputs; by_carried: first that by its last carried state, in the
    end that by its first; by_inputs: by the vectors (N, E), for token ids by the embedding's table; None: not wanted.
    """
    flat, _, *tensors = ctx.saved_tensors
    first, parameters = tensors[part.first], tensors[part.parameters]
    end = len(flat)
    for k in reversed(range(len(ctx.blocks))):
        block = ctx.blocks[k]
        begin = end - block.tokens.numel()
        places: Any = slice(begin, end) if part.order is None else part.order[begin:end]
        end = begin
        read = flat[places]
        x = part.loop.vectors(read, block).detach().flatten(0, 1)
        x.requires_grad_(by_inputs is not None)
        entering = [t.detach().requires_grad_() for t in part.entered.tensors(k, first)]
        with torch.enable_grad(), torch.autocast(**ctx.autocast):
            outputs, after = part.loop([block], x, part.carried(entering, block.rows), first=k)
        of_rows = [gradient.narrow(dim, 0, block.rows) for gradient, dim in zip(by_carried, part.on_rows, strict=True)]
        ends = [*after.state, *after.pooled]
        by_ends = [*of_rows]
        if outputs is not None and of_outputs is not None:
            ends.append(outputs)
            by_ends.append(of_outputs[places])
        by_x, *others = _gradients(ends, by_ends, [x, *entering, *parameters])
        for sofar, new in zip(of_rows, others, strict=False):
            sofar.copy_(new) if new is not None else sofar.zero_()
        for total, new in zip(by_parameters, others[len(entering) :], strict=True):
            if new is not None:
                total += new
        if by_x is None or by_inputs is None:
            continue
        if flat.is_floating_point():
            by_inputs[places] += by_x
        else:
            by_inputs.index_add_(0, read, by_x.to(by_inputs.dtype))


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

    def __init__(self, blocks: Sequence[Block], states: int) -> None:
        self.states = states
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
