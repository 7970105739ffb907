"""The scalars against counting rows by hand."""

from collections.abc import Callable

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
from unrolled.tbptt.loader import BatchLoader
from unrolled.tbptt.schedule import DocumentsSchedule, Schedule, StreamSchedule
from unrolled.train.callbacks.chunk_statistics import ChunkStatistics
from unrolled.train.classifier import Classifier

Run = Callable[[str, Schedule], dict[str, float]]


@pytest.fixture
def run(make_trainer: Callable[..., pl.Trainer], events: Callable[[], EventAccumulator]) -> Run:
    """Train for an epoch and log once, at its end: the scalars."""

    def trained(schedule: str, order: Schedule, bidirectional: bool = False) -> dict[str, float]:
        torch.manual_seed(0)
        encoder = build.rnn(2, 3, bidirectional=bidirectional)
        network = Network(Embedding(11, 2), encoder, Last(3), 3)
        model = Classifier(network, ["a", "b", "c"], TBPTTConfig(schedule))
        trainer = make_trainer([ChunkStatistics()], max_epochs=1, log_every_n_steps=len(order))
        trainer.fit(model, BatchLoader(order))
        found = events()
        text = found.Tensors("tbptt/directions/text_summary")[0].tensor_proto.string_val[0].decode()
        assert text == model.directions
        tags = [tag for tag in found.Tags()["scalars"] if tag.startswith("tbptt/")]
        return {tag.removeprefix("tbptt/"): found.Scalars(tag)[-1].value for tag in tags}

    return trained


def test_documents(run: Run, make_corpus: Callable[..., TokenCorpus]) -> None:
    """Of 5 and 2 tokens in chunks of 2: four chunks in 2 + 2 + 1 + 2 = 7 positions."""
    assert run("documents", DocumentsSchedule(make_corpus([5, 2]), 2, 2)) == pytest.approx(
        {"chunks_per_step": 4, "padding_share": 0, "idle_share": 0, "carried_share": 2 / 4, "reread_share": 0}
    )


def test_padding_behind_a_documents_end(run: Run, make_corpus: Callable[..., TokenCorpus]) -> None:
    """Of 4 and 3 tokens in chunks of 2: the last chunk has one position too many."""
    shares = run("documents", DocumentsSchedule(make_corpus([4, 3]), 2, 2))
    assert shares["padding_share"] == pytest.approx(1 / 8)


def test_stream(run: Run, make_corpus: Callable[..., TokenCorpus]) -> None:
    """Of 5 and 2 tokens in two slots, chunks of 2: three steps, one slot idle in two of them."""
    assert run("stream", StreamSchedule(make_corpus([5, 2]), 2, 2)) == pytest.approx(
        {
            "chunks_per_step": 4 / 3,
            "padding_share": 5 / 12,
            "idle_share": 2 / 6,
            "carried_share": 2 / 4,
            "reread_share": 0,
        }
    )


def test_what_is_read_again_is_no_padding(run: Run, make_corpus: Callable[..., TokenCorpus]) -> None:
    """Of 4 tokens, k1 = 1, k2 = 2, in two blocks of one: 1 + 2 + 2 + 2 tokens are read in 8 positions."""
    shares = run("stream", StreamSchedule(make_corpus([4]), 1, 1, reach=2))
    assert shares["padding_share"] == pytest.approx(1 / 8)
    assert shares["reread_share"] == pytest.approx(3 / 7)
