"""The network: embedding, encoder, pooling, linear head and wide path. No training loop, and no Lightning."""

import torch
from torch import Tensor, nn

from unrolled.nn.embedding import Embedding
from unrolled.nn.encoder import Encoder
from unrolled.nn.pooling import Pooled, Pooling


class Network(nn.Module):
    """From token ids to one vector per document, and from it to logits.

    The parts are read chunk by chunk by `unrolled.tbptt`, which holds the loop.

    embedding: ids to vectors (K, B, E); encoder: to outputs (K, B, D); pooling: of one direction's outputs to one
    vector per document; num_classes: C; dropout: share of that vector zeroed before the head in training; wide: mix the
    logits with those of a linear model of the document (Cheng et al. 2016), each times a number of `mix`, which is not
    trained with the weights but fitted to validation documents.
    """

    def __init__(
        self,
        embedding: Embedding,
        encoder: Encoder,
        pooling: Pooling,
        num_classes: int,
        dropout: float = 0.0,
        wide: bool = False,
    ) -> None:
        super().__init__()
        self.embedding = embedding
        self.encoder = encoder
        self.pooling = pooling
        self.directions = len(encoder.layers[-1].directions)  # each is pooled on its own, in its reading order
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(self.directions * pooling.size, num_classes)
        self.mix: Tensor | None
        self.register_buffer("mix", torch.ones(2) if wide else None)  # of the head's and of the linear model's logits

    @property
    def device(self) -> torch.device:
        return self.head.weight.device

    def initial_pooled(self, rows: int) -> Pooled:
        """The pooling's statistics of documents that have not been read, of one direction after the other."""
        return tuple(s for _ in range(self.directions) for s in self.pooling.initial(rows, self.device))

    def pooled_of_directions(self, pooled: Pooled) -> list[Pooled]:
        size = len(pooled) // self.directions
        return [pooled[i * size : (i + 1) * size] for i in range(self.directions)]

    def document_vector(self, pooled: Pooled) -> Tensor:
        """(B, size) what the documents' outputs so far come to, the directions side by side."""
        return torch.cat([self.pooling.value(own) for own in self.pooled_of_directions(pooled)], dim=1)

    def logits(self, pooled: Pooled) -> Tensor:
        """(B, C) from the statistics of what has been read: the network's own, which training is about."""
        return self.head(self.dropout(self.document_vector(pooled)))

    def mixed(self, logits: Tensor, scores: Tensor | None) -> Tensor:
        """(B, C) what to predict from: ``logits`` themselves, or mixed with a linear model's ``scores``."""
        if self.mix is None:
            return logits
        if scores is None:
            raise ValueError("a network with a wide path needs the linear model's scores")
        return self.mix[0] * logits + self.mix[1] * scores
