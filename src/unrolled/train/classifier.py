"""The one Lightning module, the same for every encoder."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.apply_func import move_data_to_device
from pytorch_lightning.plugins.precision import MixedPrecision, Precision
from pytorch_lightning.utilities import GradClipAlgorithmType, rank_zero_info
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import MeanMetric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score

from unrolled.nn.embedding import Embedding
from unrolled.nn.encoder import Encoder
from unrolled.nn.pooling import Pooling
from unrolled.tbptt.batch import Batch, Block
from unrolled.tbptt.carried import CarriedState
from unrolled.tbptt.losses import chunk_weights
from unrolled.tbptt.reading import Reading, pooled_value

OptimizerFactory = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]
SchedulerFactory = Callable[..., torch.optim.lr_scheduler.LRScheduler]


class Classifier(pl.LightningModule):
    """Embedding -> encoder -> pooling -> linear head, trained on steps of chunked documents.

    schedule: `documents` (each step holds whole documents) or `stream` (each step is one chunk of every slot, and the
    carry waits here for the next); reading: how documents are cut in time; loss: what share of a document's loss each
    of its chunks gets under `stream`; dropout: of the document vector before the head; class_weights: (C,) of each
    class in the training loss; label_smoothing: share of the target that is spread over all classes in training
    (Szegedy et al. 2016); config: plain containers that say how this module was built, kept in its checkpoints.
    """

    def __init__(
        self,
        embedding: Embedding,
        encoder: Encoder,
        pooling: Pooling,
        class_names: Sequence[str],
        reading: Reading | None = None,
        schedule: str = "documents",
        loss: str = "final",
        dropout: float = 0.0,
        class_weights: Tensor | None = None,
        label_smoothing: float = 0.0,
        optimizer: OptimizerFactory = torch.optim.Adam,
        scheduler: SchedulerFactory | None = None,
        config: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters({"config": config or {}, "class_names": list(class_names)}, logger=False)
        self.embedding = embedding
        self.encoder = encoder
        self.pooling = pooling
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(pooling.size(encoder.output_size), len(class_names))
        self.class_names = list(class_names)
        self.reading = reading or Reading()
        self.whole_reading = Reading(carry=self.reading.carry)  # evaluation needs no gradient
        self.schedule = schedule
        self.loss = loss
        self.label_smoothing = label_smoothing
        self.class_weights: Tensor | None
        self.register_buffer("class_weights", class_weights, persistent=False)
        self._optimizer = optimizer
        self._scheduler = scheduler
        self._stream: list[list[CarriedState]] | None = None
        metrics = MetricCollection(
            {
                "accuracy": MulticlassAccuracy(len(class_names), average="micro"),
                "macro_f1": MulticlassF1Score(len(class_names), average="macro"),
            },
            compute_groups=False,  # groups depend on what was seen: devices would differ and wait for each other
        )
        self.train_metrics = metrics.clone(prefix="train/")
        self.val_metrics = metrics.clone(prefix="val/")
        self.test_metrics = metrics.clone(prefix="test/")
        self.val_loss, self.test_loss = MeanMetric(), MeanMetric()  # over documents, of all devices
        self.test_predictions: dict[str, np.ndarray] = {}
        self._test_rows: list[tuple[Tensor, Tensor, Tensor]] = []

    @property
    def directions(self) -> str:
        """How documents are read in training: which directions, and how far the backward one sees."""
        if not self.encoder.bidirectional:
            return "forward"
        if self.schedule == "stream":
            return "forward, and backward within each chunk only"  # latency-controlled; Zhang et al. 2016
        return "forward and backward"

    def forward(self, blocks: Sequence[Block]) -> Tensor:
        """Logits (B, C) of whole documents, read chunk by chunk: blocks as a `documents` step holds them."""
        reading = self.reading if torch.is_grad_enabled() else self.whole_reading
        return self._logits(reading.read(self.embedding, self.encoder, self.pooling, blocks, self._start(blocks[0])))

    def training_step(self, step: Batch, batch_idx: int) -> Tensor:
        """The step's loss: each document's cross entropy, summed, over the documents of an average step."""
        self.encoder.redraw()
        if self.schedule == "documents":
            logits = self(step.blocks)
            loss = self._each_loss(logits, step.labels).sum() / step.normalizer
            ended, labels = logits, step.labels
        else:
            logits = self._read_stream(step)
            each = self._each_loss(logits, step.labels)
            loss = (each * chunk_weights(self.loss, step, each.dtype)).sum() / step.normalizer
            ended, labels = logits[step.ended], step.labels[step.ended]
        self.log("train/loss", loss.detach(), prog_bar=True, batch_size=max(step.num_documents, 1), sync_dist=True)
        if len(ended):
            self.train_metrics.update(ended.detach(), labels)
            accuracy = (ended.detach().argmax(1) == labels).float().mean()
            self.log("accuracy", accuracy, prog_bar=True, logger=False, batch_size=len(ended))
        return loss

    def on_fit_start(self) -> None:
        """Say what the numbers of this run will not tell."""
        if self.encoder.bidirectional and self.schedule == "stream":
            rank_zero_info(
                f"model.bidirectional=true with tbptt.schedule=stream trains on documents read {self.directions}; "
                "validation and test read whole documents both ways"
            )

    def on_train_epoch_start(self) -> None:
        """An epoch's slots start with new documents."""
        self._stream = None

    def running_state(self) -> dict[str, Any]:
        """What training in mid-epoch needs besides the weights, as plain containers of tensors."""
        stream = self._stream
        return {
            "stream": None if stream is None else [[(c.state, c.pooled) for c in sweep] for sweep in stream],
            "metrics": {
                name: (dict(metric.metric_state), metric._update_count)
                for name, metric in self.train_metrics.items(keep_base=True)
            },
        }

    def load_running_state(self, state: dict[str, Any]) -> None:
        """Go on in mid-epoch with what `running_state` gave, on this module's device."""
        state = move_data_to_device(state, self.device)
        stream = state["stream"]
        self._stream = (
            None if stream is None else [[CarriedState(tuple(s), tuple(p)) for s, p in sweep] for sweep in stream]
        )
        for name, metric in self.train_metrics.items(keep_base=True):
            values, metric._update_count = state["metrics"][name]
            for key, value in values.items():
                setattr(metric, key, value)

    def on_train_epoch_end(self) -> None:
        """Training accuracy and F1 of the epoch, as the model was when it read each document."""
        self.log_dict(self.train_metrics.compute())
        self.train_metrics.reset()

    def validation_step(self, step: Batch, batch_idx: int) -> None:
        """Loss and metrics over whole documents."""
        self._evaluate(step, self.val_metrics, self.val_loss, "val/loss")

    def on_test_start(self) -> None:
        """Forget what an earlier test predicted."""
        self._test_rows.clear()

    def test_step(self, step: Batch, batch_idx: int) -> None:
        """Loss and metrics over whole documents; every prediction is kept."""
        logits = self._evaluate(step, self.test_metrics, self.test_loss, "test/loss")
        self._test_rows.append((step.ids.cpu(), step.labels.cpu(), logits.float().softmax(dim=1).cpu()))

    def on_test_epoch_end(self) -> None:
        """Predictions of all documents, in the order of their ids, on every device."""
        rows = self._test_rows
        if self.trainer.world_size > 1:
            every: list[Any] = [None] * self.trainer.world_size
            torch.distributed.all_gather_object(every, rows)
            rows = [row for device in every for row in device]
        ids, labels, probabilities = (torch.cat(column) for column in zip(*rows, strict=True))
        order = ids.argsort()
        top = probabilities[order].max(dim=1)
        self.test_predictions = {
            "ids": ids[order].numpy(),
            "labels": labels[order].numpy(),
            "predicted": top.indices.numpy(),
            "probability": top.values.numpy(),
        }

    def predict_step(self, step: Batch, batch_idx: int) -> tuple[Tensor, Tensor]:
        """Ids (B,) and probabilities (B, C)."""
        return step.ids, self(step.blocks).float().softmax(dim=1)

    def configure_optimizers(self) -> Any:
        """The optimizer, and a learning-rate schedule per step where one is set."""
        optimizer = self._optimizer(self.parameters())
        if self._scheduler is None:
            return optimizer
        scheduler = self._scheduler(optimizer, total_steps=int(self.trainer.estimated_stepping_batches))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip as Lightning does, with fused optimizers under mixed precision, too.

        Lightning refuses those because they divide by the loss scale inside ``step()``, after clipping. bfloat16 has no
        scale; for float16 the gradients are unscaled here, which the scaler takes note of.
        """
        plugin = self.trainer.precision_plugin
        if not isinstance(plugin, MixedPrecision) or not gradient_clip_val:
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)
            return
        if plugin.scaler is not None and getattr(optimizer, "_step_supports_amp_scaling", False):
            plugin.scaler.unscale_(optimizer)
        algorithm = GradClipAlgorithmType(gradient_clip_algorithm or GradClipAlgorithmType.NORM)
        Precision.clip_gradients(plugin, optimizer, gradient_clip_val, algorithm)

    def _start(self, block: Block) -> list[list[CarriedState]]:
        return self.reading.start(self.encoder, self.pooling, block.rows, block.tokens.device)

    def _logits(self, carries: list[list[CarriedState]]) -> Tensor:
        return self.head(self.dropout(pooled_value(self.pooling, carries)))

    def _each_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """(B,) what training makes smaller, per document."""
        return F.cross_entropy(
            logits, labels, self.class_weights, label_smoothing=self.label_smoothing, reduction="none"
        )

    def _read_stream(self, step: Batch) -> Tensor:
        """Logits (slots, C) of what each slot's document says so far.

        The step's tokens are read from the carry at their beginning, through which no gradient flows; within the step
        none is cut. The carry of the first `step.advance` blocks waits for the next step. All others (k2 > k1) are read
        again then: after an optimizer step what the old weights had made of them is stale.
        """
        reading, blocks = self.reading, step.blocks
        carries = self._start(blocks[0])
        if self._stream is not None:
            carries = [
                [
                    old.renew(step.fresh, new)
                    if reading.carry
                    else CarriedState(new.state, old.renew(step.fresh, new).pooled)
                    for old, new in zip(olds, news, strict=True)
                ]
                for olds, news in zip(self._stream, carries, strict=True)
            ]
        within = replace(reading, exact=len(blocks) > 1)
        carries = within.read(self.embedding, self.encoder, self.pooling, blocks[: step.advance], carries)
        self._stream = [[carry.detach() for carry in sweep] for sweep in carries]
        if step.advance < len(blocks):
            carries = within.read(self.embedding, self.encoder, self.pooling, blocks[step.advance :], carries)
        return self._logits(carries)

    def _evaluate(self, step: Batch, metrics: MetricCollection, loss: MeanMetric, name: str) -> Tensor:
        logits = self(step.blocks)
        if step.num_documents:  # one of several devices may have none left
            metrics.update(logits, step.labels)
            loss.update(F.cross_entropy(logits, step.labels, reduction="none"))
        self.log(name, loss, on_step=False, on_epoch=True, batch_size=step.num_documents)
        self.log_dict(metrics, on_step=False, on_epoch=True, batch_size=step.num_documents)
        return logits
