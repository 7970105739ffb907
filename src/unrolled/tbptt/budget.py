"""A budget for activations: whether a batch would exceed it is estimated before the batch is read."""

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unrolled.nn.network import Network
from unrolled.tbptt.batch import Batch, Block
from unrolled.tbptt.loop import Truncation
from unrolled.tbptt.read import read, start

MIB = 2**20
SHARE = 8  # the default budget is the memory over this
MOST_MIB = 512.0  # of it on a CPU, whose memory is everybody's
NODE_BYTES = 1000  # of a node of the graph beside the values that it saves, measured with torch 2.13


def default_budget_mib(device: torch.device) -> float:
    """An eighth of the GPU's memory, or of the machine's, where it is at most 512 MiB."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory / SHARE / MIB
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with suppress(OSError, ValueError):  # no such file, or `max`: there is no limit
        memory = min(memory, int(Path("/sys/fs/cgroup/memory.max").read_text()))  # of a container
    return min(memory / SHARE / MIB, MOST_MIB)


class Budget:
    """MiB of activations that a training step may keep; None: `default_budget_mib` of the network's device.

    What a network keeps grows with a batch's chunks, with their rows, with their time steps and with their positions,
    rows times steps. How many bytes for each is found by reading four tiny chunks and looking at the graph, so that it
    holds for every recurrence, engine and pooling.
    """

    def __init__(self, mib: float | None = None) -> None:
        self.mib = mib
        self._bytes: NDArray[np.float64] | None = None  # [4] for each chunk, row of one, time step and position

    def limit_mib(self, device: torch.device) -> float:
        if self.mib is None:
            self.mib = default_budget_mib(device)  # reads files: once, not before every step
        return self.mib

    def estimate_mib(self, network: Network, batch: Batch) -> float:
        """What ``batch`` would make the graph keep if nothing were recomputed, as ``network`` trains at present."""
        if self._bytes is None:
            self._bytes = _bytes_kept(network)
        steps = sum(steps for steps, _ in batch.shapes)
        return float(self._bytes @ [len(batch.shapes), len(batch.lengths), steps, batch.num_positions]) / MIB


def _bytes_kept(network: Network) -> NDArray[np.float64]:
    """[4] bytes for each chunk, row of one, time step and position."""
    seen: dict[int, torch.UntypedStorage] = {}  # held, so that no address comes twice

    def save(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        seen.setdefault(storage.data_ptr(), storage)
        return tensor.detach()

    def kept(steps: int, rows: int) -> int:
        before = len(seen)
        with torch.autograd.graph.saved_tensors_hooks(save, lambda tensor: tensor):
            after = read(network, [_padding(steps, rows, network.device)], start(network, rows), Truncation())
        new = list(seen.values())[before:]
        return sum(storage.nbytes() for storage in new) + NODE_BYTES * _nodes([*after.state, *after.pooled])

    shapes = [(16, 1), (16, 2), (32, 1), (32, 2)]
    with torch.random.fork_rng([network.device] if network.device.type == "cuda" else []):
        kept(*shapes[0])  # what every chunk saves alike, as weights, is seen here and not counted below
        found = [kept(*shape) for shape in shapes]
    factors = np.linalg.solve([[1, rows, steps, steps * rows] for steps, rows in shapes], found)
    table = network.embedding.weight
    factors[3] += table.shape[1] * table.element_size()  # vectors of all tokens are looked up before the first chunk
    return factors


def _nodes(tensors: Sequence[Tensor]) -> int:
    """Nodes of the graph that ``tensors`` hang from; those of parameters, which all chunks share, do not count."""
    new = {tensor.grad_fn for tensor in tensors if tensor.grad_fn is not None}
    found = set(new)
    while new:
        new = {node for last in new for node, _ in last.next_functions if node is not None} - found
        found |= new
    return sum(bool(node.next_functions) for node in found)


def _padding(steps: int, rows: int, device: torch.device) -> Block:
    tokens = torch.zeros(steps, rows, dtype=torch.int64, device=device)
    return Block(tokens, torch.full((rows,), steps, device=device), full=False, pauses=False)
