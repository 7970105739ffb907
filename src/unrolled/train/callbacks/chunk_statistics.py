"""Statistics of padding: how well the chunks of a batch fill the blocks that are computed."""

from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from unrolled.tbptt.batch import Batch
from unrolled.train.callbacks.loggers import summary_writers, summed, write_scalars
from unrolled.train.classifier import Classifier
from unrolled.train.step_boundaries import logged_this_step, steps_after


class ChunkStatistics(Callback):
    """Logs, over the steps since it last did, how well chunks fill what is computed.

    ``tbptt/chunks_per_step``   chunks of documents per optimizer step
    ``tbptt/padding_share``     of all positions computed, those that hold no token, in idle rows too
    ``tbptt/idle_share``        of all rows of blocks, those that have no document (in a stream)
    ``tbptt/carried_share``     of all chunks, those that go on from a carried state; the others begin a document
    ``tbptt/reread_share``      of all tokens read, those that an earlier step had read (a stream with k1 < k2)

    Besides, the text ``tbptt/directions`` says how far a backward direction sees. A batch must be a `Batch`; under DDP
    counts are summed over the ranks.
    """

    def __init__(self) -> None:
        self._counts = [0.0] * 8

    def state_dict(self) -> dict[str, Any]:
        return {"counts": self._counts}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._counts = list(state_dict["counts"])

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.ckpt_path is not None:  # going on
            return
        self._counts = [0.0] * 8
        if isinstance(pl_module, Classifier):
            for writer in summary_writers(trainer):
                writer.add_text("tbptt/directions", pl_module.directions, trainer.global_step)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        rows = len(batch.lengths)
        own = (batch.num_chunks, batch.num_carried, batch.num_idle, rows, batch.num_read, batch.num_tokens)
        new = (steps_after(trainer, batch_idx), *own, batch.num_positions)
        self._counts = [before + count for before, count in zip(self._counts, new, strict=True)]
        if logged_this_step(trainer, batch_idx):
            self._write(trainer)

    def _write(self, trainer: pl.Trainer) -> None:
        steps, chunks, carried, idle, rows, read, tokens, positions = summed(trainer, self._counts)
        self._counts = [0.0] * 8
        scalars = {
            "tbptt/chunks_per_step": chunks / (steps / trainer.world_size),
            "tbptt/padding_share": 1 - read / max(positions, 1),
            "tbptt/idle_share": idle / max(rows, 1),
            "tbptt/carried_share": carried / max(chunks, 1),
            "tbptt/reread_share": 1 - tokens / max(read, 1),
        }
        write_scalars(trainer, scalars, trainer.global_step - 1)
