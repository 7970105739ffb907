"""The estimate of a batch's activations against what the graph of that batch saves."""

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from tests.nn import build
from tests.nn.build import POOLINGS
from torch import Tensor

from unrolled.data.corpus import TokenCorpus
from unrolled.nn.embedding import Embedding
from unrolled.nn.encoder import Encoder
from unrolled.nn.network import Network
from unrolled.tbptt import budget as budget_module
from unrolled.tbptt.batch import documents_batch
from unrolled.tbptt.budget import MIB, Budget, default_budget_mib
from unrolled.tbptt.loop import Truncation
from unrolled.tbptt.read import read, start

E, V = 6, 11
LENGTHS = [95, 40, 7, 211, 0, 240]
NETWORKS: dict[str, tuple[Callable[..., Encoder], dict[str, Any], str]] = {
    "lstmp, concat": (build.lstm, {"proj_size": 4}, "concat"),
    "gru, eager, attention": (build.gru, {"engine": "eager"}, "attention"),
    "official gru, two layers, both directions": (
        build.gru,
        {"bidirectional": True, "num_layers": 2, "implementation": "official"},
        "mean",
    ),
}


def nodes_of(tensors: list[Tensor]) -> int:
    """Distinct ones that compute something, one after another."""
    stack, known = [tensor.grad_fn for tensor in tensors if tensor.grad_fn is not None], set()
    while stack:
        node = stack.pop()
        if node not in known:
            known.add(node)
            stack += [following for following, _ in node.next_functions if following is not None]
    return sum(type(node).__name__ != "AccumulateGrad" for node in known)


@pytest.mark.parametrize("network", NETWORKS)
def test_the_estimate_is_what_the_graph_of_the_batch_keeps(
    make_corpus: Callable[..., TokenCorpus], monkeypatch: pytest.MonkeyPatch, network: str
) -> None:
    make, how, pooling = NETWORKS[network]
    torch.manual_seed(0)
    encoder = make(E, 8, dropout=0.25 if how.get("num_layers") else 0.0, **how)
    net = Network(
        Embedding(V, E, dropout=0.3, word_dropout=0.3), encoder, POOLINGS[pooling](encoder.layers[-1].direction_size), 2
    )
    batch = documents_batch(make_corpus(LENGTHS), np.arange(len(LENGTHS)), 50)
    random = torch.get_rng_state()
    with_nodes = Budget().estimate_mib(net, batch) * MIB
    assert torch.equal(torch.get_rng_state(), random), "the estimate draws no random number of the run"
    monkeypatch.setattr(budget_module, "NODE_BYTES", 0)
    estimate = Budget().estimate_mib(net, batch) * MIB

    storages: dict[int, torch.UntypedStorage] = {p.data_ptr(): p.untyped_storage() for p in net.parameters()}
    weights = len(storages)

    def save(tensor: Tensor) -> Tensor:
        storages.setdefault(tensor.untyped_storage().data_ptr(), tensor.untyped_storage())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(save, lambda tensor: tensor):
        after = read(net, batch.blocks, start(net, len(LENGTHS)), Truncation())
    kept = sum(storage.nbytes() for storage in list(storages.values())[weights:])
    assert estimate == pytest.approx(kept + batch.num_positions * E * 4, rel=0.1)  # and all tokens' vectors
    nodes = nodes_of([*after.state, *after.pooled])
    assert (with_nodes - estimate) / 1000 == pytest.approx(nodes, rel=0.3)  # a whole reading has some of its own


def test_the_default_is_a_share_of_a_small_machine_and_512_mib_of_a_large_one(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 2**30 // 4096}
    monkeypatch.setattr(os, "sysconf", memory.__getitem__)
    assert default_budget_mib(torch.device("cpu")) == 128
    memory["SC_PHYS_PAGES"] *= 2**20
    assert default_budget_mib(torch.device("cpu")) <= 512
    assert Budget(7.5).limit_mib(torch.device("cpu")) == 7.5
