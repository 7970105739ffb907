"""Reading chunk by chunk against torch.nn reading one document at a time, and against itself on other grids."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hydra.utils import instantiate
from omegaconf import DictConfig
from tests.nn import build
from tests.nn.build import POOLINGS
from torch import Tensor, nn

from unrolled.data.corpus import TokenCorpus
from unrolled.nn import embedding as embedding_module
from unrolled.nn import layer as layer_module
from unrolled.nn.embedding import Embedding
from unrolled.nn.encoder import Encoder
from unrolled.nn.network import Network
from unrolled.nn.pooling import Attention, Pooling
from unrolled.tbptt.batch import Batch, documents_batch
from unrolled.tbptt.loop import Truncation
from unrolled.tbptt.read import read, start
from unrolled.train.build import without

FILES = (Path(__file__).parents[2] / "conf" / "model").glob("*.yaml")
MODELS = sorted(path.stem for path in FILES if path.stem != "linear")  # which has no encoder
E, H, P, V = 3, 5, 2, 11
LENGTHS = [4, 9, 1, 7, 0, 7]
CHUNKS = [1, 2, 3, 4, 9, 20, None]
Make = Callable[..., TokenCorpus]
Named = dict[str, Tensor]

NETWORKS: dict[str, tuple[Callable[..., Encoder], dict[str, Any]]] = {
    "rnn": (build.rnn, {}),
    "lstm": (build.lstm, {}),
    "lstmp, two layers": (build.lstm, {"proj_size": P, "num_layers": 2}),
    "gru, two layers": (build.gru, {"num_layers": 2}),
    "official lstm": (build.lstm, {"implementation": "official"}),
    "official gru, two layers": (build.gru, {"implementation": "official", "num_layers": 2}),
    "lstm, both directions": (build.lstm, {"bidirectional": True}),
    "lstmp, two layers, both directions": (build.lstm, {"bidirectional": True, "num_layers": 2, "proj_size": P}),
    "official gru, two layers, both directions": (
        build.gru,
        {"bidirectional": True, "num_layers": 2, "implementation": "official"},
    ),
}
every_network = pytest.mark.parametrize("network", NETWORKS)


class Net:
    """An embedding and an encoder in float64 with seeded weights."""

    def __init__(
        self, make: Callable[..., Encoder], pooling: str, embedding: dict[str, float] | None = None, **how: Any
    ):
        torch.manual_seed(0)
        self.embedding = Embedding(V, E, std=1.0, **(embedding or {})).double()  # type: ignore[arg-type]
        self.encoder = make(E, H, **how).double()
        with torch.no_grad():
            for weight in self.encoder.parameters():
                weight.mul_(1.5)  # a state that is heard over the input
        self.pooling: Pooling = POOLINGS[pooling](self.encoder.layers[-1].direction_size).double()
        for weight in self.pooling.parameters():
            nn.init.normal_(weight)  # attention that is far from a mean
        self.network = Network(self.embedding, self.encoder, self.pooling, 2)

    def parameters(self) -> Named:
        named = {"embedding": self.embedding.weight, **dict(self.encoder.named_parameters())}
        return named | {f"pooling.{name}": weight for name, weight in self.pooling.named_parameters()}

    def __call__(self, batch: Batch, truncation: Truncation) -> Tensor:
        self.encoder.draw_weight_masks()
        carried = read(self.network, batch.blocks, start(self.network, batch.blocks[0].rows), truncation)
        return self.network.document_vector(carried.pooled)


def gradients(value: Tensor, parameters: Named) -> Named:
    """Of a fixed random projection of the documents' vectors, in order of the rows."""
    weights = torch.randn(value.shape, generator=torch.Generator().manual_seed(1), dtype=value.dtype)
    found = torch.autograd.grad((value * weights).sum(), list(parameters.values()), allow_unused=True)
    return {
        name: torch.zeros_like(parameter) if gradient is None else gradient
        for (name, parameter), gradient in zip(parameters.items(), found, strict=True)
    }


def assert_same(ours: Named, theirs: Named, tolerance: float = 1e-10) -> None:
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value, rtol=0, atol=tolerance, msg=lambda m, n=name: f"{n}: {m}")


def all_documents(corpus: TokenCorpus, chunk_len: int | None) -> Batch:
    return documents_batch(corpus, np.arange(len(corpus)), chunk_len)


# ---- the oracle: torch.nn, one document at a time, with the detaches written out ------------------------------------


def official_twin(network: str, net: Net) -> tuple[Named, list[list[nn.RNNBase]]]:
    """torch.nn modules in one direction each, per layer, with the weights of ``net``."""
    make, how = NETWORKS[network]
    twin = make(E, H, **{**how, "implementation": "official"}).double()
    ours = dict(net.encoder.named_parameters())
    parameters = {"embedding": net.embedding.weight.detach().clone().requires_grad_()}
    for name, weight in twin.named_parameters():
        own = name if name in ours else name.replace(".module.", ".")
        weight.data.copy_(ours[own])
        parameters[own] = weight
    parameters |= {f"pooling.{name}": weight for name, weight in net.pooling.named_parameters()}
    return parameters, [[one.module for one in layer.recurrences] for layer in twin.layers]


def read_alone(module: nn.RNNBase, x: Tensor, chunk_len: int | None, cut: bool) -> Tensor:
    """One direction over one document x (T, E); between chunks the state is detached where ``cut``."""
    outputs, state = [], None
    for chunk in x.split(chunk_len or len(x)):
        if state is not None and cut:
            state = tuple(s.detach() for s in state) if isinstance(state, tuple) else state.detach()
        y, state = module(chunk, state)
        outputs.append(y)
    return torch.cat(outputs)


def vector_alone(pooling: Pooling, outputs: Tensor) -> Tensor:
    if isinstance(pooling, Attention):
        hidden = torch.tanh(outputs @ pooling.score.weight.T + pooling.score.bias)
        return (hidden @ pooling.query).softmax(0) @ outputs
    parts = {"last": outputs[-1], "max": outputs.max(0).values, "mean": outputs.mean(0)}
    name = type(pooling).__name__.lower()
    return torch.cat(list(parts.values())) if name == "concat" else parts[name]


def oracle(
    network: str, net: Net, batch: Batch, corpus: TokenCorpus, chunk_len: int | None, cut: bool
) -> tuple[Tensor, Named]:
    """The documents' vectors in the batch's order, and the parameters they come from."""
    parameters, layers = official_twin(network, net)
    vectors = []
    for document in batch.ids.tolist():
        tokens = torch.from_numpy(corpus.document(document - 100).astype(np.int64))
        if not len(tokens):
            width = net.pooling.size * net.network.directions
            vectors.append(torch.zeros(width, dtype=torch.float64))
            continue
        x = F.embedding(tokens, parameters["embedding"])
        for layer in layers:
            read = [read_alone(layer[0], x, chunk_len, cut)]
            if len(layer) == 2:
                read.append(read_alone(layer[1], x.flip(0), chunk_len, cut))
            x = torch.cat([read[0], *(y.flip(0) for y in read[1:])], dim=-1)
        vectors.append(torch.cat([vector_alone(net.pooling, y) for y in read]))
    return torch.stack(vectors), parameters


@every_network
@pytest.mark.parametrize("chunk_len", [1, 3, 4, None])
def test_truncated_gradients_are_autograds_with_explicit_detaches(
    make_corpus: Make, network: str, chunk_len: int | None
) -> None:
    """One document at a time with torch.nn; the second direction is cut on a grid from the document's end."""
    make, how = NETWORKS[network]
    net, corpus = Net(make, "concat", **how), make_corpus(LENGTHS)
    batch = all_documents(corpus, chunk_len)
    value = net(batch, Truncation())
    expected, parameters = oracle(network, net, batch, corpus, chunk_len, cut=True)
    torch.testing.assert_close(value, expected, rtol=0, atol=1e-12)
    assert_same(gradients(value, net.parameters()), gradients(expected, parameters))


@every_network
@pytest.mark.parametrize("chunk_len", [1, 3, 4])
def test_exact_gradients_are_those_of_ordinary_backpropagation(make_corpus: Make, network: str, chunk_len: int) -> None:
    make, how = NETWORKS[network]
    net, corpus = Net(make, "concat", **how), make_corpus(LENGTHS)
    batch = all_documents(corpus, chunk_len)
    value = net(batch, Truncation(exact=True))
    expected, parameters = oracle(network, net, batch, corpus, None, cut=False)
    torch.testing.assert_close(value, expected, rtol=0, atol=1e-12)
    ours = gradients(value, net.parameters())
    assert_same(ours, gradients(expected, parameters))
    truncated = gradients(net(batch, Truncation()), net.parameters())
    assert any((ours[name] - truncated[name]).abs().max() > 1e-3 for name in ours), "truncation must make a difference"


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("chunk_len", CHUNKS)
@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("recompute", [False, True])
def test_every_pooling_on_every_grid(
    make_corpus: Make, pooling: str, chunk_len: int | None, exact: bool, recompute: bool
) -> None:
    network = "lstm, both directions"
    make, how = NETWORKS[network]
    net, corpus = Net(make, pooling, **how), make_corpus(LENGTHS)
    batch = all_documents(corpus, chunk_len)
    value = net(batch, Truncation(exact=exact, recompute=recompute))
    expected, parameters = oracle(network, net, batch, corpus, chunk_len, cut=not exact)
    torch.testing.assert_close(value, expected, rtol=0, atol=1e-12)
    assert_same(gradients(value, net.parameters()), gradients(expected, parameters))


# ---- every model of conf/ -------------------------------------------------------------------------------------------


OFFICIAL = ("rnn", "rnn_relu", "lstm", "lstmp", "gru")  # what torch.nn has, too


def models() -> Iterator[tuple[str, str, bool]]:
    for model in MODELS:
        for bidirectional in (False, True)[: 1 if model == "memoryless" else 2]:
            yield model, "handwritten", bidirectional
            if model in OFFICIAL:
                yield model, "official", bidirectional


@pytest.mark.parametrize(("model", "implementation", "bidirectional"), list(models()))
def test_every_model_of_conf_reads_in_chunks_as_it_reads_whole(
    compose_config: Callable[..., DictConfig], make_corpus: Make, model: str, implementation: str, bidirectional: bool
) -> None:
    """And the exact gradient; and what is handed on matters, except for the model that has no memory."""
    config = compose_config(f"model={model}", f"model.implementation={implementation}").model
    config.hidden_size, config.proj_size, config.bidirectional = H, P if config.proj_size else 0, bidirectional
    net = Net(lambda size, hidden: instantiate(without(config, "wide"), input_size=size), "concat")
    corpus = make_corpus(LENGTHS)
    whole = net(all_documents(corpus, None), Truncation())
    exact = gradients(whole, net.parameters())
    for chunk_len in (1, 3, 8):
        batch = all_documents(corpus, chunk_len)
        for recompute in (False, True):
            value = net(batch, Truncation(exact=True, recompute=recompute))
            torch.testing.assert_close(value, whole, rtol=0, atol=1e-12)
            assert_same(gradients(value, net.parameters()), exact)
        apart = net(batch, Truncation(carry=False))
        rows = torch.tensor([corpus.lengths[i - 100] > chunk_len for i in batch.ids.tolist()])
        if model == "memoryless":
            torch.testing.assert_close(apart, whole, rtol=0, atol=1e-12)
        else:
            assert ((apart - whole)[rows].abs().amax(1) > 1e-4).all(), "the carried state is ignored"
        torch.testing.assert_close(apart[~rows], whole[~rows], rtol=0, atol=1e-12)


@every_network
def test_a_documents_vector_does_not_depend_on_its_batch_mates(make_corpus: Make, network: str) -> None:
    make, how = NETWORKS[network]
    net, corpus = Net(make, "concat", **how), make_corpus(LENGTHS)
    together = all_documents(corpus, 3)
    value = net(together, Truncation())
    for row, document in enumerate(together.ids.tolist()):
        alone = net(documents_batch(corpus, np.array([document - 100]), 3), Truncation())
        torch.testing.assert_close(alone[0], value[row], rtol=0, atol=1e-12)


# ---- where gradients stop -------------------------------------------------------------------------------------------


def two_chunks() -> TokenCorpus:
    """One document of tokens 2, 3, 4 and then 5, 6, 7."""
    one = np.array([0], dtype=np.int64)
    return TokenCorpus(np.arange(2, 8, dtype=np.uint16), np.arange(V, dtype=np.int32), one, one + 6, one, one + 100)


@every_network
@pytest.mark.parametrize("recompute", [False, True])
def test_no_gradient_crosses_a_chunk_boundary(network: str, recompute: bool) -> None:
    """The last output learns from the tokens of its own chunk, and with the exact gradient from all."""
    make, how = NETWORKS[network]
    if how.get("bidirectional"):  # the second direction's last output belongs to the first token
        how = {**how, "bidirectional": False}
    net = Net(make, "last", **how)
    batch = all_documents(two_chunks(), 3)
    for exact, crosses in ((False, False), (True, True)):
        gradient = gradients(net(batch, Truncation(exact=exact, recompute=recompute)), net.parameters())["embedding"]
        assert gradient[5:8].any(dim=1).all()
        assert gradient[2:5].any(dim=1).all() == crosses
        assert gradient[2:5].any() == crosses


@every_network
@pytest.mark.parametrize("recompute", [False, True])
def test_the_first_step_of_a_chunk_learns_from_the_carried_value(network: str, recompute: bool) -> None:
    """In chunks of one token the recurrent weights meet nothing but carried values."""
    make, how = NETWORKS[network]
    net = Net(make, "mean", **how)
    batch = all_documents(two_chunks(), 1)
    carried = gradients(net(batch, Truncation(recompute=recompute)), net.parameters())
    apart = gradients(net(batch, Truncation(carry=False, recompute=recompute)), net.parameters())
    recurrent = [name for name in carried if "weight_hh" in name]
    assert recurrent
    for name in recurrent:
        assert carried[name].any()
        assert not apart[name].any()


def test_without_carry_every_chunk_is_a_document_of_its_own(make_corpus: Make) -> None:
    net, corpus = Net(build.lstm, "max"), make_corpus([7])
    whole = net(all_documents(corpus, 3), Truncation(carry=False))
    begin = np.array([0, 3, 6])
    pieces = TokenCorpus(corpus.tokens, corpus.table, begin, np.array([3, 3, 1]), begin, begin)
    torch.testing.assert_close(whole, net(all_documents(pieces, None), Truncation()).amax(0, keepdim=True))


# ---- recomputing ----------------------------------------------------------------------------------------------------

DROPOUTS: dict[str, tuple[str, dict[str, Any]]] = {
    "shared masks and dropped weights": ("lstm", {"input_dropout": 0.4, "weight_dropout": 0.3}),
    "zoneout": ("lstm", {"zoneout_hidden": 0.3, "zoneout_cell": 0.2}),
    "between layers": ("lstm", {"num_layers": 3, "dropout": 0.4}),
    "between layers, official": ("lstm", {"num_layers": 2, "dropout": 0.4, "implementation": "official"}),
    "shared between layers, both directions": (
        "gru",
        {"num_layers": 2, "bidirectional": True, "input_dropout": 0.4, "layer_dropout": 0.3, "dropout": 0.2},
    ),
    "learned first state": ("lstm", {"learned_state": True, "proj_size": P, "input_dropout": 0.2}),
}
every_dropout = pytest.mark.parametrize("dropout", DROPOUTS)


@every_dropout
@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("carry", [False, True])
def test_recomputing_equals_retaining_with_every_dropout_on(
    make_corpus: Make, dropout: str, exact: bool, carry: bool
) -> None:
    """Bit for bit in the values: what is dropped is dropped again."""
    kind, how = DROPOUTS[dropout]
    net = Net(getattr(build, kind), "concat", {"dropout": 0.3, "word_dropout": 0.2}, **how)
    batch = all_documents(make_corpus(LENGTHS), 3)
    found = []
    for recompute in (False, True):
        torch.manual_seed(5)
        value = net(batch, Truncation(exact=exact, recompute=recompute, carry=carry))
        torch.rand(())  # drawing between forward and backward must not matter
        found.append((value, gradients(value, net.parameters())))
    assert torch.equal(found[0][0], found[1][0])
    assert_same(found[1][1], found[0][1], 1e-12)
    torch.manual_seed(6)
    assert not torch.equal(net(batch, Truncation(exact=exact, carry=carry)), found[0][0])


def drop_by_value(x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Dropout whose mask is a hash of what it meets: any grid of chunks drops the same elements of a document."""
    if not training or not p:
        return x
    draw = (x.detach() * 12345.678).sin() / 2 + 0.5
    return torch.where(draw < p, 0.0, x / (1 - p))


@every_dropout
@pytest.mark.parametrize("recompute", [False, True])
def test_exact_equals_ordinary_backpropagation_with_the_same_elements_dropped(
    make_corpus: Make, monkeypatch: pytest.MonkeyPatch, dropout: str, recompute: bool
) -> None:
    kind, how = DROPOUTS[dropout]
    if how.get("implementation") == "official" or "zoneout_hidden" in how:
        kind, how = "gru", {"num_layers": 2, "dropout": 0.4, "layer_dropout": 0.3}
    net = Net(getattr(build, kind), "concat", {"dropout": 0.3}, **how)
    for module in (embedding_module, layer_module):
        monkeypatch.setattr(module, "dropout", drop_by_value)
    monkeypatch.setattr(F, "dropout", drop_by_value)
    corpus = make_corpus(LENGTHS)

    def read_whole(chunk_len: int | None, truncation: Truncation) -> tuple[Tensor, Named]:
        value = net(all_documents(corpus, chunk_len), truncation)
        return value, gradients(value, net.parameters())

    whole, expected = read_whole(None, Truncation())
    for chunk_len in (1, 2, 3, 4, 8):
        value, found = read_whole(chunk_len, Truncation(exact=True, recompute=recompute))
        torch.testing.assert_close(value, whole, rtol=0, atol=1e-12)
        assert_same(found, expected)


def saved_numbers(net: Net, batch: Batch, truncation: Truncation) -> int:
    """How many numbers the graph holds between forward and backward, beyond tokens and parameters."""
    known = {parameter.data_ptr() for parameter in net.parameters().values()}
    seen: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        if tensor.is_floating_point() and tensor.data_ptr() not in known:
            storage = tensor.untyped_storage()
            seen[storage.data_ptr()] = storage.nbytes() // tensor.element_size()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        value = net(batch, truncation)
    assert value.requires_grad
    return sum(seen.values())


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_recomputing_keeps_no_activations(make_corpus: Make, exact: bool, bidirectional: bool) -> None:
    """Per chunk its first state and the statistics stay: h and c of H, last, max, mean of H and a count."""
    net = Net(build.lstm, "concat", bidirectional=bidirectional)
    chunk_len, chunks = 50, 8
    batch = all_documents(make_corpus([chunk_len * chunks]), chunk_len)
    kept = saved_numbers(net, batch, Truncation(exact=exact, recompute=True))
    assert kept <= (2 if bidirectional else 1) * (chunks + 1) * (5 * H + 1)
    assert saved_numbers(net, batch, Truncation(exact=exact)) > 40 * kept


def test_between_two_layers_in_both_directions_one_copy_of_the_outputs_is_kept(make_corpus: Make) -> None:
    net, chunk_len, chunks = Net(build.lstm, "concat", bidirectional=True, num_layers=2), 50, 8
    kept = saved_numbers(net, all_documents(make_corpus([chunk_len * chunks]), chunk_len), Truncation(recompute=True))
    outputs = chunk_len * chunks * 2 * H
    assert outputs <= kept <= outputs + 4 * (chunks + 1) * (5 * H + 1)


# ---- without gradients ----------------------------------------------------------------------------------------------


@every_network
def test_evaluation_reads_the_same_values_on_every_grid(make_corpus: Make, network: str) -> None:
    make, how = NETWORKS[network]
    net, corpus = Net(make, "concat", {"dropout": 0.3, "word_dropout": 0.3}, **how), make_corpus(LENGTHS)
    net.network.eval()
    with torch.no_grad():
        values = [net(all_documents(corpus, chunk_len), Truncation()) for chunk_len in CHUNKS]
    for value in values:
        torch.testing.assert_close(value, values[-1], rtol=0, atol=1e-12)
