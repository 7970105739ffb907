"""A training step on torch's meta device: nothing in it is made on the CPU, and no value is read from the device.

The meta device computes shapes only. A tensor made on another device by mistake meets one on this and raises; so does
`item`, `nonzero` or a mask as an index, each of which would make a GPU wait.
"""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from tests.nn import build
from tests.nn.build import POOLINGS

from unrolled.data.corpus import TokenCorpus
from unrolled.nn import autocast, official
from unrolled.nn.embedding import Embedding
from unrolled.nn.encoder import Encoder
from unrolled.nn.network import Network
from unrolled.tbptt.batch import Batch, documents_batch
from unrolled.tbptt.config import Loss, TBPTTConfig
from unrolled.tbptt.schedule import StreamSchedule
from unrolled.train.build import without
from unrolled.train.classifier import Classifier

FILES = (Path(__file__).parents[2] / "conf" / "model").glob("*.yaml")
MODELS = sorted(path.stem for path in FILES if path.stem != "linear")  # which has no encoder
LENGTHS = [7, 3, 0, 9, 1, 4]
E, H, V, C = 3, 5, 11, 3
META = torch.device("meta")


@pytest.fixture(autouse=True)
def _no_autocast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Autocast does not know the device."""

    @contextlib.contextmanager
    def off(*_: Any, **__: Any) -> Iterator[None]:
        yield

    for module in (autocast, official):
        monkeypatch.setattr(module, "autocast_dtype", lambda _: None, raising=False)
    monkeypatch.setattr(torch, "autocast", off)


def step(network: Network, batch: Batch, **how: Any) -> None:
    """One training step's loss and its gradients."""
    tbptt = TBPTTConfig(**{"memory": "retain"} | how)
    classifier = Classifier(network, ["a", "b", "c"], tbptt, class_weights=torch.ones(C), label_smoothing=0.1).to(META)
    classifier.log = lambda *_, **__: None  # type: ignore[method-assign, assignment]
    loss = classifier.training_step(batch.to(META), 0)
    assert loss.device == META
    loss.backward()
    for name, parameter in classifier.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.device == META, name


def network(encoder: Encoder, pooling: str = "concat") -> Network:
    return Network(
        Embedding(V, E, dropout=0.2, word_dropout=0.1),
        encoder,
        POOLINGS[pooling](encoder.layers[-1].direction_size),
        C,
        0.3,
    )


def documents(make_corpus: Callable[..., TokenCorpus], chunk_len: int | None = 3) -> Batch:
    return documents_batch(make_corpus(LENGTHS), np.arange(len(LENGTHS)), chunk_len)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_every_model(
    compose_config: Callable[..., DictConfig], make_corpus: Callable[..., TokenCorpus], model: str, bidirectional: bool
) -> None:
    if model == "memoryless" and bidirectional:
        pytest.skip("a linear map has no direction")
    config = compose_config(f"model={model}").model
    config.hidden_size, config.proj_size, config.bidirectional = H, 2 if config.proj_size else 0, bidirectional
    for implementation in ("handwritten", "official") if config.cell in ("rnn", "lstm", "gru") else ("handwritten",):
        if implementation == "official" and config.get("nonlinearity") == "identity":
            continue
        config.implementation = implementation
        step(network(instantiate(without(config, "wide"), input_size=E)), documents(make_corpus))


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize(
    "how",
    [
        {},
        {"gradient": "exact"},
        {"memory": "recompute"},
        {"gradient": "exact", "memory": "recompute"},
        {"carry": False},
    ],
    ids=str,
)
@pytest.mark.parametrize("chunk_len", [3, None])
def test_every_pooling_and_truncation(
    make_corpus: Callable[..., TokenCorpus], pooling: str, how: dict[str, Any], chunk_len: int | None
) -> None:
    encoder = build.lstm(E, H, num_layers=2, dropout=0.2, input_dropout=0.1, weight_dropout=0.1, shortcut=True)
    step(network(encoder, pooling), documents(make_corpus, chunk_len), **how)


@pytest.mark.parametrize("loss", get_args(Loss))
@pytest.mark.parametrize("reach", [2, 4])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_every_loss_of_a_stream(
    make_corpus: Callable[..., TokenCorpus], loss: str, reach: int, bidirectional: bool
) -> None:
    batches = StreamSchedule(make_corpus(LENGTHS), 2, 2, reach=reach).batches(0)
    encoder = build.gru(E, H, bidirectional=bidirectional)
    classifier_step = [batches[i] for i in range(2)]
    for batch in classifier_step:
        step(network(encoder), batch, schedule="stream", loss=loss)


def test_a_mistake_is_noticed(make_corpus: Callable[..., TokenCorpus], monkeypatch: pytest.MonkeyPatch) -> None:
    """A state made on the CPU, and a value read from the device."""
    net = network(build.gru(E, H))
    monkeypatch.setattr(net, "initial_pooled", lambda rows: net.pooling.initial(rows, torch.device("cpu")))
    with pytest.raises((RuntimeError, NotImplementedError)):
        step(net, documents(make_corpus))
    net = network(build.gru(E, H))
    monkeypatch.setattr(net.pooling, "value", lambda pooled: pooled[0] * pooled[0].sum().item())
    with pytest.raises(RuntimeError, match="meta"):
        step(net, documents(make_corpus))
