"""What people write in PyTorch without this program: a loop over batches, with torch.nn.LSTM packed or in chunks."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence


@dataclass(frozen=True)
class Documents:
    """A batch: token ids of each document, and the documents' classes (B,)."""

    tokens: list[Tensor]
    labels: Tensor

    @property
    def count(self) -> int:
        """Tokens."""
        return sum(len(tokens) for tokens in self.tokens)


class Packed(nn.Module):
    """Embedding, packed LSTM, the largest output over time, linear head."""

    def __init__(self, vocabulary: int, classes: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.lstm = nn.LSTM(width, width, batch_first=True)
        self.head = nn.Linear(width, classes)

    def forward(self, documents: list[Tensor]) -> Tensor:
        """Logits (B, C)."""
        lengths = torch.tensor([len(tokens) for tokens in documents])
        x = self.embedding(pad_sequence(documents, batch_first=True))
        packed, _ = self.lstm(pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False))
        outputs, _ = pad_packed_sequence(packed, batch_first=True, padding_value=-torch.inf)
        return self.head(outputs.max(dim=1).values)


class Chunked(nn.Module):
    """The same with dense chunks of 100 time steps; documents that have ended leave, and gradients stop in between."""

    def __init__(self, vocabulary: int, classes: int, width: int, chunk: int = 100) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.lstm = nn.LSTM(width, width)
        self.head = nn.Linear(width, classes)
        self.chunk = chunk

    def forward(self, documents: list[Tensor]) -> Tensor:
        """Logits (B, C), the longest document first."""
        lengths = torch.tensor([len(tokens) for tokens in documents])
        padded = pad_sequence(documents)
        state, largest = None, torch.full((len(documents), self.lstm.hidden_size), -torch.inf)
        ended = []
        for begin in range(0, len(padded), self.chunk):
            rows = int((lengths > begin).sum())
            if rows < len(largest):
                ended.append(largest[rows:])
                largest = largest[:rows]
            if state is not None:
                state = tuple(s[:, :rows].detach().contiguous() for s in state)
            tokens = padded[begin : begin + self.chunk, :rows]
            outputs, state = self.lstm(self.embedding(tokens), state)
            time_steps = torch.arange(len(tokens)).unsqueeze(1)
            past = (time_steps >= lengths[:rows] - begin).unsqueeze(2)
            largest = torch.maximum(largest, outputs.masked_fill(past, -torch.inf).amax(0))
        return self.head(torch.cat([largest, *reversed(ended)]))


def seconds(model: nn.Module, batches: Sequence[Documents], warm_up: int) -> float:
    """Of training on all batches but the first ``warm_up``."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    began = time.perf_counter()
    for i, batch in enumerate(batches):
        if i == warm_up:
            began = time.perf_counter()
        longest_first = sorted(range(len(batch.tokens)), key=lambda k: -len(batch.tokens[k]))
        logits = model([batch.tokens[k] for k in longest_first])
        loss = F.cross_entropy(logits, batch.labels[longest_first])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return time.perf_counter() - began
