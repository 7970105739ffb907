"""A classifier of two points that trains in a moment, with a real Trainer and real event files."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader


@dataclass
class Batch:
    """What callbacks know of a step."""

    features: Tensor  # (B, 3)
    labels: Tensor  # (B,)
    num_documents: int
    num_tokens: int
    num_positions: int

    def to(self, device: Any, non_blocking: bool = False) -> "Batch":
        return self


class TinyClassifier(pl.LightningModule):
    """Two classes, told apart by the sign of the first feature."""

    class_names = ("negative", "positive")

    def __init__(self, learning_rate: float = 0.1) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 3)
        self.encoder = nn.Linear(3, 5)
        self.head = nn.Linear(5, 2)
        self.learning_rate = learning_rate
        self.test_predictions: dict[str, np.ndarray] = {}
        self.before_step: Callable[[int], None] = lambda step: None

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        self.before_step(self.global_step)
        loss = F.cross_entropy(self.head(self.encoder(batch.features)), batch.labels)
        self.log("train/loss", loss, batch_size=batch.num_documents)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._evaluate(batch, "val")

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        predicted = self._evaluate(batch, "test")
        self.test_predictions = {"labels": batch.labels.numpy(), "predicted": predicted.numpy()}

    def _evaluate(self, batch: Batch, stage: str) -> Tensor:
        logits = self.head(self.encoder(batch.features))
        accuracy = (logits.argmax(1) == batch.labels).float().mean()
        self.log(f"{stage}/loss", F.cross_entropy(logits, batch.labels), batch_size=batch.num_documents)
        self.log(f"{stage}/accuracy", accuracy, batch_size=batch.num_documents)
        return logits.argmax(1)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=self.learning_rate)


def tiny_batches(count: int, documents: int = 4) -> DataLoader:
    """``count`` batches of 11 tokens in 16 positions each."""
    generator = torch.Generator().manual_seed(0)
    batches = []
    for _ in range(count):
        features = torch.randn(documents, 3, generator=generator)
        labels = (features[:, 0] > 0).long()
        batches.append(Batch(features, labels, num_documents=documents, num_tokens=11, num_positions=16))
    return DataLoader(batches, batch_size=None, shuffle=False)


@pytest.fixture
def tiny() -> TinyClassifier:
    torch.manual_seed(0)
    return TinyClassifier()


@pytest.fixture
def batches() -> Callable[..., DataLoader]:
    return tiny_batches


@pytest.fixture
def make_trainer(tmp_path: Path) -> Callable[..., pl.Trainer]:
    """A trainer on the CPU that logs to ``tmp_path``."""

    def make(callbacks: list[pl.Callback], **options: Any) -> pl.Trainer:
        has_bar = any(isinstance(callback, pl.callbacks.ProgressBar) for callback in callbacks)
        settings = {
            "max_epochs": 2,
            "log_every_n_steps": 2,
            "enable_checkpointing": False,
            "enable_progress_bar": has_bar,
            "enable_model_summary": False,
            "accelerator": "cpu",
            "num_sanity_val_steps": 0,
            "logger": TensorBoardLogger(tmp_path, name="", version="", default_hp_metric=False),
        }
        return pl.Trainer(callbacks=callbacks, **(settings | options))

    return make


@pytest.fixture
def events(tmp_path: Path) -> Callable[[], EventAccumulator]:
    """What the event files in ``tmp_path`` hold."""

    def read() -> EventAccumulator:
        accumulator = EventAccumulator(str(tmp_path), size_guidance={"images": 0, "tensors": 0, "scalars": 0})
        accumulator.Reload()
        return accumulator

    return read
