"""Tokens and documents read so far, and metrics over them."""

from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from unrolled.train.callbacks.loggers import summary_writers, summed, write_scalars
from unrolled.train.step_boundaries import logged_this_step


class TokensSeen(Callback):
    """Logs ``progress/tokens_seen`` and ``progress/documents_seen`` in training.

    TensorBoard's horizontal axis is a step count, which means other amounts of text for other batch sizes and chunk
    lengths. Loss and accuracy are therefore written once more as ``progress/<metric>_by_tokens``, with the number of
    tokens read so far in place of the step.

    Under DDP the counts are summed over the ranks; after a resumption every rank goes on from the first one's count.
    """

    BY_TOKENS = ("train/loss", "val/loss", "val/accuracy", "val/macro_f1")

    def __init__(self) -> None:
        self.tokens_seen = 0
        self.documents_seen = 0

    def state_dict(self) -> dict[str, Any]:
        return {"tokens_seen": self.tokens_seen, "documents_seen": self.documents_seen}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.tokens_seen = state_dict["tokens_seen"]
        self.documents_seen = state_dict["documents_seen"]

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.tokens_seen += batch.num_tokens
        self.documents_seen += batch.num_documents
        if logged_this_step(trainer, batch_idx):
            self._write(trainer, "train/")

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._write(trainer, "val/")

    def _write(self, trainer: pl.Trainer, prefix: str) -> None:
        tokens, documents = summed(trainer, (self.tokens_seen, self.documents_seen))
        scalars = {"progress/tokens_seen": tokens, "progress/documents_seen": documents}
        write_scalars(trainer, scalars, max(trainer.global_step - 1, 0))
        for name in self.BY_TOKENS:
            value: Tensor | None = trainer.callback_metrics.get(name)
            if name.startswith(prefix) and value is not None:
                for writer in summary_writers(trainer):
                    writer.add_scalar(f"progress/{name.replace('/', '_')}_by_tokens", float(value), int(tokens))
