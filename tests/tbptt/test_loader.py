"""The loader goes on where it was interrupted."""

from collections.abc import Callable

import pytest

from unrolled.data.corpus import TokenCorpus
from unrolled.tbptt.loader import BatchLoader
from unrolled.tbptt.schedule import DocumentsSchedule, Schedule, StreamSchedule

LENGTHS = [4, 9, 0, 1, 7, 3, 3, 12, 5, 2, 8]


@pytest.fixture(params=["documents", "stream"])
def schedule(request: pytest.FixtureRequest, make_corpus: Callable[..., TokenCorpus]) -> Schedule:
    corpus = make_corpus(LENGTHS)
    return DocumentsSchedule(corpus, 2, 4) if request.param == "documents" else StreamSchedule(corpus, 2, 4)


def read(loader: BatchLoader) -> list[list[int]]:
    return [step.ids.tolist() for step in loader]


def test_each_epoch_has_an_order_of_its_own_and_the_length_it_says(schedule: Schedule) -> None:
    loader = BatchLoader(schedule)
    first = read(loader)
    assert len(first) == len(loader)
    loader.set_epoch(1)
    assert read(loader) != first
    loader.set_epoch(0)
    assert read(loader) == first


@pytest.mark.parametrize("after", [1, 2, 5])
def test_it_goes_on_with_the_very_next_step(schedule: Schedule, after: int) -> None:
    loader = BatchLoader(schedule)
    loader.set_epoch(3)
    whole = read(loader)
    steps = iter(loader)
    for _ in range(after):
        next(steps)
    state = loader.state_dict()
    other = BatchLoader(schedule)
    other.load_state_dict(state)
    assert read(other) == whole[after:]
    assert read(other) == whole, "the epoch after it is whole again"


def test_its_state_is_plain_numbers(schedule: Schedule) -> None:
    loader = BatchLoader(schedule)
    next(iter(loader))
    assert all(type(value) is int for value in loader.state_dict().values())


def test_an_iteration_that_was_broken_off_leaves_no_trace(schedule: Schedule) -> None:
    """As a look at one step before training is."""
    loader = BatchLoader(schedule)
    whole = read(loader)
    next(iter(loader))
    assert read(loader) == whole
