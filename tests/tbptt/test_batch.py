"""Steps against Python lists of documents."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unrolled.data.corpus import TokenCorpus
from unrolled.tbptt.batch import PADDING, Batch, documents_batch, stream_batch

LENGTHS = [4, 9, 0, 1, 7]
Make = Callable[..., TokenCorpus]


def texts(step: Batch, blocks: int | None = None) -> dict[int, list[int]]:
    """What the first ``blocks`` say, one after another, by document."""
    read: dict[int, list[int]] = {}
    for block in step.blocks[:blocks]:
        for row in range(block.rows):
            length = int(block.lengths[row])
            read.setdefault(int(step.ids[row]), []).extend(block.tokens[:length, row].tolist())
            assert (block.tokens[length:, row] == PADDING).all()
    return read


@pytest.mark.parametrize("chunk_len", [1, 2, 3, 4, 5, 9, 20, None])
def test_the_blocks_of_a_step_spell_its_documents(make_corpus: Make, chunk_len: int | None) -> None:
    corpus = make_corpus(LENGTHS)
    step = documents_batch(corpus, np.array([0, 1, 2, 4]), chunk_len)
    assert texts(step) == {100 + i: corpus.document(i).tolist() for i in (0, 1, 2, 4)}
    assert step.ids.tolist() == [101, 104, 100, 102], "the longest first"
    assert step.labels.tolist() == [1, 1, 0, 2]
    assert step.num_documents == 4
    assert step.num_tokens == 20
    assert step.num_positions == sum(block.tokens.numel() for block in step.blocks)


@given(
    lengths=st.lists(st.integers(0, 12), min_size=1, max_size=6),
    chunk_len=st.integers(1, 13),
)
def test_rows_leave_once_they_have_ended(make_corpus: Make, lengths: list[int], chunk_len: int) -> None:
    corpus = make_corpus(lengths)
    step = documents_batch(corpus, np.arange(len(lengths)), chunk_len)
    for number, block in enumerate(step.blocks):
        begin = number * chunk_len
        expected = len(lengths) if number == 0 else sum(length > begin for length in lengths)
        assert block.rows == expected
        left = sorted(lengths, reverse=True)[:expected]
        assert block.lengths.tolist() == [min(max(length - begin, 0), chunk_len) for length in left]
        assert block.full == all(length == block.tokens.shape[0] for length in block.lengths.tolist())
    assert torch.stack([step.fresh, step.ended]).all(), "whole documents"


def test_a_slot_reads_the_chunk_it_is_told_to_and_an_idle_one_nothing(make_corpus: Make) -> None:
    corpus = make_corpus(LENGTHS)
    step = stream_batch(corpus, np.array([1, -1, 2, 4]), np.array([6, 0, 0, 0]), chunk_len=3, normalizer=2.5)
    (block,) = step.blocks
    assert block.tokens.shape == (3, 4), "every step of a stream has one shape"
    assert block.tokens[:, 0].tolist() == corpus.document(1)[6:9].tolist()
    assert block.tokens[:, 3].tolist() == corpus.document(4)[:3].tolist()
    assert (block.tokens[:, 1:3] == PADDING).all()
    assert block.lengths.tolist() == [3, 0, 0, 3]
    assert step.ids.tolist() == [101, -1, 102, 104]
    assert step.fresh.tolist() == [False, False, True, True]
    assert step.ended.tolist() == [True, False, True, False], "an empty document ends where it starts"
    assert step.number.tolist()[0::3] == [2, 0]
    assert step.count.tolist()[0::3] == [3, 3]
    assert (step.num_documents, step.num_tokens, step.num_positions, step.normalizer) == (2, 6, 12, 2.5)
    assert (step.num_chunks, step.num_carried, step.num_idle) == (3, 1, 1)


@pytest.mark.parametrize(("stride", "reach"), [(1, 3), (2, 4), (2, 3), (4, 6), (3, 3)])
def test_a_window_goes_back_from_its_new_tokens_and_splits_where_the_next_begins(
    make_corpus: Make, stride: int, reach: int
) -> None:
    """Each row's position in its document is another; the oracle slices a list."""
    corpus = make_corpus([11] * 6 + [0])
    begin = np.array([stride * i for i in range(5) if stride * i < 11] + [0])
    documents = np.array([*range(len(begin) - 1), 6])
    step = stream_batch(corpus, documents, begin, stride, 1.0, reach)
    advanced, read = texts(step, step.advance), texts(step)
    for document, new in zip(documents.tolist(), begin.tolist(), strict=True):
        whole = corpus.document(document).tolist()
        first, next_first = max(new + stride - reach, 0), max(new + 2 * stride - reach, 0)
        assert read[100 + document] == whole[first : new + stride]
        assert advanced[100 + document] == whole[first : min(next_first, new + stride)]
    assert step.num_tokens == sum(
        len(corpus.document(d)[b : b + stride]) for d, b in zip(documents, begin, strict=True)
    )
    assert step.num_read == sum(map(len, read.values()))
    assert step.fresh.tolist() == [new + stride <= reach for new in begin[:-1].tolist()] + [True]
    assert step.ended.tolist() == [new + stride >= 11 for new in begin[:-1].tolist()] + [True]
    lengths = torch.stack([block.lengths for block in step.blocks])  # [blocks, rows]
    for k, row in np.argwhere(lengths[:-1].numpy() % step.blocks[0].tokens.shape[0] > 0):
        assert step.ended[row], "all or nothing, or the carry would be wrong"
        assert not lengths[k + 1 :, row].any()


def test_a_long_document_costs_little_more_than_its_token_ids(make_corpus: Make) -> None:
    """Its 3,000 blocks are views that are made on demand."""
    step = documents_batch(make_corpus([30_000]), np.array([0]), 10)
    tensors = [value for value in vars(step).values() if isinstance(value, torch.Tensor)]
    ids = 30_000 * 8
    assert ids <= sum(tensor.nbytes for tensor in tensors) < 1.2 * ids
    assert step.blocks[2].tokens.data_ptr() == step.tokens[20:].data_ptr()


def test_a_step_moves_as_a_whole(make_corpus: Make) -> None:
    step = documents_batch(make_corpus(LENGTHS), np.arange(5), 3)
    moved = step.to("meta")
    assert all(block.tokens.is_meta and block.lengths.is_meta for block in moved.blocks)
    assert moved.labels.is_meta
    assert [block.full for block in moved.blocks] == [block.full for block in step.blocks]
    torch.testing.assert_close(step.to("cpu").blocks[1].tokens, step.blocks[1].tokens)
