"""Schedules against counting: every document once, equal steps, little padding."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled.data.corpus import TokenCorpus
from unrolled.tbptt.batch import Batch
from unrolled.tbptt.schedule import DocumentsSchedule, Schedule, StreamSchedule, told_by_length

Make = Callable[..., TokenCorpus]
LENGTHS = [4, 9, 0, 1, 7, 3, 3, 12, 5, 2, 8]


def all_steps(schedule: Schedule, epoch: int = 0) -> list[Batch]:
    steps = schedule.batches(epoch)
    return [steps[i] for i in range(len(steps))]


def streamed(steps: list[Batch]) -> list[dict[int, list[int]]]:
    """Per row, its documents in reading order with their tokens; each must be read from start to end."""
    streams: list[dict[int, list[int]]] = [{} for _ in range(steps[0].blocks[0].rows)]
    going: list[int | None] = [None] * len(streams)
    for step in steps:
        (block,) = step.blocks
        for row, document in enumerate(step.ids.tolist()):
            if document < 0:
                assert going[row] is None, "idle in the middle of a document"
                continue
            assert bool(step.fresh[row]) == (going[row] != document)
            if step.fresh[row]:
                assert going[row] is None, "the document before has not ended"
                assert document not in streams[row]
                streams[row][document] = []
            streams[row][document] += block.tokens[: int(block.lengths[row]), row].tolist()
            going[row] = None if step.ended[row] else document
    assert going == [None] * len(streams)
    return streams


@pytest.mark.parametrize("batch_size", [1, 2, 3, 11, 20])
@pytest.mark.parametrize("shuffle", [False, True])
def test_documents_holds_each_document_once_an_epoch(make_corpus: Make, batch_size: int, shuffle: bool) -> None:
    schedule = DocumentsSchedule(make_corpus(LENGTHS), batch_size, chunk_len=3, shuffle=shuffle)
    for epoch in (0, 1):
        steps = all_steps(schedule, epoch)
        assert len(steps) == len(schedule)
        assert sorted(i for step in steps for i in step.ids.tolist()) == list(range(100, 111))
        assert sum(step.num_tokens for step in steps) == sum(LENGTHS)


@settings(deadline=None)
@given(
    lengths=st.lists(st.integers(0, 15), min_size=1, max_size=12),
    rows=st.integers(1, 6),
    chunk_len=st.integers(1, 7),
    epoch=st.integers(0, 3),
)
def test_stream_reads_each_document_once_from_start_to_end(
    make_corpus: Make, lengths: list[int], rows: int, chunk_len: int, epoch: int
) -> None:
    corpus = make_corpus(lengths)
    schedule = StreamSchedule(corpus, rows, chunk_len)
    steps = all_steps(schedule, epoch)
    assert len(steps) == len(schedule)
    read = [item for row in streamed(steps) for item in row.items()]
    assert len(read) == len(lengths)
    assert dict(read) == {100 + i: corpus.document(i).tolist() for i in range(len(lengths))}
    assert sum(step.num_tokens for step in steps) == sum(lengths)
    assert sum(step.num_documents for step in steps) == len(lengths)


@pytest.mark.parametrize("kind", ["documents", "stream"])
def test_an_epoch_is_a_pure_function_of_seed_and_epoch(make_corpus: Make, kind: str) -> None:
    corpus = make_corpus(LENGTHS)

    def order(seed: int, epoch: int) -> list[list[int]]:
        schedule = DocumentsSchedule(corpus, 3, 4, seed) if kind == "documents" else StreamSchedule(corpus, 3, 4, seed)
        return [step.ids.tolist() for step in all_steps(schedule, epoch)]

    assert order(5, 2) == order(5, 2)
    assert order(5, 2) != order(5, 3)
    assert order(5, 2) != order(6, 2)


@pytest.mark.parametrize("kind", ["documents", "stream"])
@pytest.mark.parametrize("world_size", [2, 3])
def test_ranks_have_equal_steps_and_together_make_the_global_batch(
    make_corpus: Make, kind: str, world_size: int
) -> None:
    corpus = make_corpus(LENGTHS)

    def schedule(rank: int, world: int) -> Schedule:
        if kind == "documents":
            return DocumentsSchedule(corpus, 6, 4, rank=rank, world_size=world)
        return StreamSchedule(corpus, 6, 4, rank=rank, world_size=world)

    whole = all_steps(schedule(0, 1))
    ranks = [all_steps(schedule(rank, world_size)) for rank in range(world_size)]
    assert [len(steps) for steps in ranks] == [len(whole)] * world_size
    for i, step in enumerate(whole):
        shares = [steps[i] for steps in ranks]
        together = sorted(document for share in shares for document in share.ids.tolist() if document >= 0)
        assert together == sorted(document for document in step.ids.tolist() if document >= 0)
        assert sum(share.num_tokens for share in shares) == step.num_tokens
        # The mean of the ranks' gradients, each over its normalizer, is the gradient of the whole over its own
        for share in shares:
            assert share.normalizer * world_size == pytest.approx(step.normalizer)
    if kind == "documents":
        assert all(
            max(s[i].blocks[0].rows for s in ranks) <= -(-whole[i].blocks[0].rows // world_size) for i in range(2)
        )


def text_lengths(count: int, seed: int = 0) -> list[int]:
    """Like newsgroup posts: log-normal, median 150, a few of thousands of tokens."""
    rng = np.random.default_rng(seed)
    return np.exp(rng.normal(5, 1, count)).astype(int).clip(0, 12000).tolist()


def test_documents_of_like_length_stand_together(make_corpus: Make) -> None:
    steps = all_steps(DocumentsSchedule(make_corpus(text_lengths(3000)), batch_size=64, chunk_len=100))
    padding = 1 - sum(step.num_tokens for step in steps) / sum(step.num_positions for step in steps)
    assert padding < 0.08


@pytest.mark.parametrize("batch_size", [8, 32])
def test_where_length_tells_the_class_a_batch_has_every_class_in_its_proportion(
    make_corpus: Make, batch_size: int
) -> None:
    """Three classes of very different lengths, one of them with all documents alike: sorted, each batch is of one."""
    lengths = [size for i in range(200) for size in (10, 80 + i, 500 + 10 * (i % 7))]
    schedule = DocumentsSchedule(make_corpus(lengths), batch_size, chunk_len=100)
    orders = [[order.tolist() for order in schedule.order(epoch)] for epoch in (0, 1)]
    for batch in orders[0]:
        counts = np.bincount([document % 3 for document in batch], minlength=3)
        assert abs(counts - len(batch) / 3).max() <= 2
    together = [{frozenset(batch) for batch in batches} for batches in orders]
    assert not together[0] & together[1], "other batches in another epoch"


def test_how_far_length_tells_the_class_is_the_adjusted_correlation_ratio() -> None:
    rng = np.random.default_rng(0)
    labels, lengths = rng.integers(0, 4, 500), rng.integers(0, 300, 500)
    groups = [np.log1p(lengths[labels == label]) for label in range(4)]
    within = sum(((group - group.mean()) ** 2).sum() for group in groups)
    assert told_by_length(labels, lengths) == pytest.approx(1 - within / 496 / np.log1p(lengths).var(ddof=1))
    assert told_by_length(labels, labels) == pytest.approx(1)
    assert told_by_length(labels, np.full(500, 7)) == 0
    assert abs(told_by_length(np.arange(500) % 200, lengths)) < 0.2, "many classes explain much by chance"


def test_noise_brings_other_documents_together_each_epoch(make_corpus: Make) -> None:
    schedule = DocumentsSchedule(make_corpus(text_lengths(300)), batch_size=10, chunk_len=100)
    partners = [{frozenset(step.ids.tolist()) for step in all_steps(schedule, epoch)} for epoch in (0, 1)]
    assert len(partners[0] & partners[1]) < 3


def test_rows_of_a_stream_finish_together_and_pack_well(make_corpus: Make) -> None:
    steps = all_steps(StreamSchedule(make_corpus(text_lengths(3000)), rows=64, chunk_len=32))
    idle = np.array([[document < 0 for document in step.ids.tolist()] for step in steps])
    assert idle.mean() < 0.01
    assert not idle[:-5].any(), "all but the last few steps are full"
    padding = 1 - sum(step.num_tokens for step in steps) / sum(step.num_positions for step in steps)
    assert padding < 0.12


def test_one_document_longer_than_all_others_does_not_stop_the_rest(make_corpus: Make) -> None:
    """The row of the longest document sets the steps; the others share what is left."""
    steps = all_steps(StreamSchedule(make_corpus([100] + [3] * 8), rows=3, chunk_len=10))
    assert len(steps) == 10
    assert sum(step.num_documents for step in steps) == 9
