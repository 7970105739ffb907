"""Truncation of long documents to a number of tokens."""

from dataclasses import replace

import numpy as np

from unrolled.data.corpus import TokenCorpus


def truncate(corpus: TokenCorpus, max_tokens: int, keep: str = "head") -> TokenCorpus:
    """The corpus with no document longer than ``max_tokens``; shorter ones stay as they are.

    keep: ``head``, the first tokens; ``tail``, the last; or ``head+tail``, the first quarter and the last three
    quarters of ``max_tokens``, as Sun et al. (2019) found best for classification.

    Head and tail are other slices of the same tokens. Head+tail copies the tokens that remain into memory.
    """
    lengths = np.minimum(corpus.lengths, max_tokens)
    if keep == "head":
        return replace(corpus, lengths=lengths)
    if keep == "tail":
        return replace(corpus, starts=corpus.starts + corpus.lengths - lengths, lengths=lengths)
    head = max_tokens // 4
    tokens = np.empty(int(lengths.sum()), dtype=corpus.tokens.dtype)
    starts = np.cumsum(lengths) - lengths
    for start, length, old_start, old_length in zip(
        starts.tolist(), lengths.tolist(), corpus.starts.tolist(), corpus.lengths.tolist(), strict=True
    ):
        first = head if length < old_length else length
        tokens[start : start + first] = corpus.tokens[old_start : old_start + first]
        last = length - first
        tokens[start + first : start + length] = corpus.tokens[old_start + old_length - last : old_start + old_length]
    return replace(corpus, tokens=tokens, starts=starts, lengths=lengths)
