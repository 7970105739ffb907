"""The bias appears in TensorBoard before the first step and after each epoch."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import pytest
import pytorch_lightning as pl
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tests.nn import build

from unrolled.data.corpus import TokenCorpus
from unrolled.nn.embedding import Embedding
from unrolled.nn.network import Network
from unrolled.nn.pooling import Last
from unrolled.tbptt.config import TBPTTConfig
from unrolled.tbptt.datamodule import DocumentsDataModule
from unrolled.train.callbacks.gradient_bias import GradientBias
from unrolled.train.classifier import Classifier


@dataclass
class Splits:
    """What a DocumentsDataModule asks of prepared data."""

    train: TokenCorpus
    valid: TokenCorpus


@pytest.mark.parametrize("schedule", ["documents", "stream"])
def test_training_goes_on_as_without_it(
    make_trainer: Callable[..., pl.Trainer],
    events: Callable[[], EventAccumulator],
    make_corpus: Callable[..., TokenCorpus],
    schedule: str,
) -> None:
    corpus = make_corpus([7, 3, 9, 4, 1])
    trained: list[Any] = []
    for callbacks in ([], [GradientBias(batches=2, batch_size=2)]):
        torch.manual_seed(0)
        embedding, encoder = Embedding(11, 2, dropout=0.3), build.lstm(2, 3, weight_dropout=0.3)
        tbptt = TBPTTConfig(cast(Any, schedule), chunk_len=2, batch_size=2)
        model = Classifier(Network(embedding, encoder, Last(encoder.output_size), 3), ["a", "b", "c"], tbptt)
        data = DocumentsDataModule(cast(Any, Splits(corpus, corpus)), tbptt)
        make_trainer(list(callbacks), log_every_n_steps=1).fit(model, datamodule=data)
        trained.append([p.detach() for p in model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*trained, strict=True))
    bias = events().Scalars("tbptt/gradient_bias")
    assert len(bias) == 3, "at the beginning and after two epochs"
    assert all(0 < scalar.value < 2 for scalar in bias)
    assert all(scalar.value <= 1 for scalar in events().Scalars("tbptt/gradient_cosine"))
