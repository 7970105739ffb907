"""The embedding: a vector for each token id, with dropout of words and of vector elements."""

from typing import Any

import torch
from torch import Tensor, nn

from unrolled.nn.dropout import dropout
from unrolled.nn.row_lookup import RowUpdates, distinct, look_up


class Embedding(nn.Embedding):
    """A vector per vocabulary entry; id 0 pads and stays zero.

    num_embeddings: vocabulary size; embedding_dim: E; dropout: share of vector elements zeroed in training;
    word_dropout: share of tokens replaced by ``unknown`` in training (Iyyer et al. 2015).
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        dropout: float = 0.0,
        word_dropout: float = 0.0,
        std: float = 0.1,
        unknown: int = 1,
    ) -> None:
        self.std = std  # of the initial vectors; torch's default of 1 drowns what a recurrence adds
        super().__init__(num_embeddings, embedding_dim, padding_idx=0)
        self.dropout = dropout
        self.word_dropout = word_dropout
        self.unknown = unknown
        self.rows: RowUpdates | None = None  # what an optimizer still has to do; gradients are sparse then

    def reset_parameters(self) -> None:
        """Normal vectors, zeros for padding."""
        nn.init.normal_(self.weight, std=self.std)
        self._fill_padding_idx_with_zero()

    def forward(self, tokens: Tensor) -> Tensor:
        """Ids of any shape (...) to vectors (..., E)."""
        return self.drop(self.lookup(self.drop_words(tokens)))

    def drop_words(self, tokens: Tensor) -> Tensor:
        """In training a share of the ids replaced by the unknown word's."""
        if not (self.training and self.word_dropout):
            return tokens
        drop = torch.rand(tokens.shape, device=tokens.device) < self.word_dropout
        return tokens.masked_fill(drop & (tokens != self.padding_idx), self.unknown)

    def lookup(self, tokens: Tensor) -> Tensor:
        """Each id's vector, nothing dropped."""
        if self.rows is None:
            return super().forward(tokens)
        if not torch.is_grad_enabled():
            self.rows.flush()
            return super().forward(tokens)
        ids, places = distinct(tokens.flatten(), self.num_embeddings)
        self.rows.catch_up(ids)
        vectors = look_up(self.weight, tokens.flatten(), ids, places, self.padding_idx)
        return vectors.view(*tokens.shape, self.embedding_dim)

    def drop(self, vectors: Tensor) -> Tensor:
        """In training a share of the elements zeroed, the others scaled up."""
        return dropout(vectors, self.dropout, self.training)

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        if self.rows is not None:
            destination[prefix + "weight"] = self.rows.up_to_date()[0]
