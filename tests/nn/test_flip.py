"""Flipping against reversed Python lists."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from unrolled.nn.flip import flip_index

LENGTHS = st.lists(st.integers(0, 9), min_size=1, max_size=5)


def rows(lengths: list[int]) -> torch.Tensor:
    """(T, B): row b counts 1, 2, ... to its length, then -1."""
    time = torch.arange(max(max(lengths), 1)).unsqueeze(1)
    return torch.where(time < torch.tensor(lengths), time + 1, -1)


@given(LENGTHS, st.integers(1, 10))
def test_flat_blocks_of_flipped_documents_hold_what_the_index_says(lengths: list[int], chunk_len: int) -> None:
    """Rows leave at chunk boundaries, and a flipped document is as long as before."""
    lengths = sorted(lengths, reverse=True)
    x = rows(lengths)
    begins = range(0, len(x), chunk_len)
    counts = [len(lengths) if begin == 0 else sum(length > begin for length in lengths) for begin in begins]

    def flat(whole: torch.Tensor) -> torch.Tensor:
        parts = zip(begins, counts, strict=True)
        return torch.cat([whole[begin : begin + chunk_len, :count].flatten() for begin, count in parts])

    shapes = [(len(x[begin : begin + chunk_len]), count) for begin, count in zip(begins, counts, strict=True)]
    index = flip_index(shapes, torch.tensor(lengths))
    flipped = [list(range(length, 0, -1)) + [-1] * (len(x) - length) for length in lengths]
    assert torch.equal(flat(x)[index], flat(torch.tensor(flipped).t()))
    assert torch.equal(index[index], torch.arange(len(index)))
