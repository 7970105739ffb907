"""The one Lightning module, the same for every encoder."""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.apply_func import move_data_to_device
from pytorch_lightning.plugins.precision import MixedPrecision, Precision
from pytorch_lightning.utilities import GradClipAlgorithmType, rank_zero_only
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import MeanMetric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score

from unrolled.nn.network import Network
from unrolled.tbptt.batch import Batch
from unrolled.tbptt.budget import Budget
from unrolled.tbptt.carried import CarriedState
from unrolled.tbptt.config import TBPTTConfig
from unrolled.tbptt.loop import Truncation
from unrolled.tbptt.read import read, start
from unrolled.tbptt.stream import chunk_weights, read_stream
from unrolled.train.devices import of_all_devices
from unrolled.train.mix import fit_mix
from unrolled.train.results import NETWORK_ALONE
from unrolled.train.row_adamw import RowAdamW, clip_gradients
from unrolled.train.step_boundaries import logs_after_this_step, steps_after, validation_follows

log = logging.getLogger(__name__)

SHOWN_EVERY = 10  # batches, after which the terminal has another loss

OptimizerFactory = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]
SchedulerFactory = Callable[..., torch.optim.lr_scheduler.LRScheduler]


class Classifier(pl.LightningModule):
    """A network trained on batches of documents in chunks.

    tbptt: how documents are read in training; under the schedule `documents` a batch holds whole ones, under `stream`
    one chunk of every stream row, and the carried state waits here for the next; class_weights: (C,) of each class in
    the training loss; label_smoothing: share of the target that is spread over all classes in training (Szegedy et al.
    2016); config: plain containers that say how this module was built, kept in its checkpoints.
    """

    def __init__(
        self,
        network: Network,
        class_names: Sequence[str],
        tbptt: TBPTTConfig | None = None,
        class_weights: Tensor | None = None,
        label_smoothing: float = 0.0,
        optimizer: OptimizerFactory = torch.optim.Adam,
        scheduler: SchedulerFactory | None = None,
        config: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters({"config": config or {}, "class_names": list(class_names)}, logger=False)
        self.network = network
        self.class_names = list(class_names)
        self.tbptt = tbptt = tbptt or TBPTTConfig()
        self.truncation = Truncation(tbptt.gradient == "exact", tbptt.memory == "recompute", tbptt.carry)
        self.budget = Budget(tbptt.memory_mib) if tbptt.memory == "auto" else None
        self.linear_parameters = 0  # of the linear model that the network is mixed with
        self.recomputed_steps = 0  # that would have passed the budget
        self.label_smoothing = label_smoothing
        self.class_weights: Tensor | None
        self.register_buffer("class_weights", class_weights, persistent=False)
        self._optimizer = optimizer
        self._scheduler = scheduler
        self._waiting: CarriedState | None = None  # of a stream, between two batches
        self._logged = True  # the batch's loss
        self._unseen = SHOWN_EVERY  # batches since one's loss was logged: that of the first is
        self._answers: list[tuple[Tensor, Tensor]] = []  # predicted and true classes of the epoch's documents so far
        metrics = MetricCollection(
            {
                "accuracy": MulticlassAccuracy(len(class_names), average="micro", validate_args=False),
                "macro_f1": MulticlassF1Score(len(class_names), average="macro", validate_args=False),
            },
            compute_groups=False,  # groups depend on what was seen: devices would differ and wait for each other
        )
        self.train_metrics = metrics.clone(prefix="train/")
        self.val_metrics = metrics.clone(prefix="val/")
        self.test_metrics = metrics.clone(prefix="test/")
        self.val_loss, self.test_loss = MeanMetric(), MeanMetric()  # over documents, of all devices
        self.test_predictions: dict[str, np.ndarray] = {}
        self._valid_rows: list[tuple[Tensor, Tensor | None, Tensor]] = []
        self._test_rows: list[tuple[Tensor, Tensor, Tensor]] = []

    @property
    def directions(self) -> str:
        """How documents are read in training: which directions, and how far the backward one sees."""
        if not self.network.encoder.bidirectional:
            return "forward"
        if self.tbptt.schedule == "stream":
            return "forward, and backward within each chunk only"  # latency-controlled; Zhang et al. 2016
        return "forward and backward"

    def forward(self, batch: Batch) -> Tensor:
        """The network's own logits (B, C) of whole documents, read chunk by chunk."""
        carried = start(self.network, len(batch.labels))
        return self.network.logits(read(self.network, batch.blocks, carried, self.truncation).pooled)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The batch's loss: each document's cross entropy, summed, over the documents of an average batch."""
        self.network.encoder.draw_weight_masks()
        if self.tbptt.schedule == "documents":
            truncation = self._within_budget(batch)
            carried = read(self.network, batch.blocks, start(self.network, len(batch.labels)), truncation)
            ended = logits = self.network.logits(carried.pooled)
            labels = batch.labels
            loss = self._each_loss(logits, labels).sum() / batch.normalizer
        else:
            carried, self._waiting = read_stream(self.network, batch, self._waiting, self.truncation)
            logits = self.network.logits(carried.pooled)
            each = self._each_loss(logits, batch.labels)
            loss = (each * chunk_weights(self.tbptt.loss, batch, each.dtype)).sum() / batch.normalizer
            ended, labels = logits[batch.ended_rows], batch.labels[batch.ended_rows]
        self._logged = self._is_looked_at(batch_idx)
        self._unseen = 1 if self._logged else self._unseen + 1
        if self._logged:
            self.log("train/loss", loss.detach(), prog_bar=True, batch_size=max(batch.num_documents, 1), sync_dist=True)
        if len(ended):
            predicted = ended.detach().argmax(1)
            self._answers.append((predicted, labels))  # metrics are computed at the epoch's end, not in each step
            if self._logged:
                right = (predicted == labels).float().mean()
                self.log("accuracy", right, prog_bar=True, logger=False, batch_size=len(ended))
        return loss

    def _is_looked_at(self, batch_idx: int) -> bool:
        """Whether somebody looks at this batch's loss: to log it in every step would take half a millisecond each."""
        trainer = self._trainer
        if trainer is None:  # a step by itself
            return False
        logged = logs_after_this_step(trainer) and steps_after(trainer, batch_idx)
        shown = self._unseen >= SHOWN_EVERY or validation_follows(trainer, batch_idx)
        return logged or shown or trainer.should_stop

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Lightning logs one more step where a callback ends the training: not with an earlier batch's loss."""
        if self.trainer.should_stop and not self._logged and self.trainer._results is not None:
            self.trainer._results.reset(metrics=False, fx="training_step")

    def on_fit_start(self) -> None:
        if self.network.encoder.bidirectional and self.tbptt.schedule == "stream":
            _say(
                f"model.bidirectional=true with tbptt.schedule=stream trains on documents read {self.directions}; "
                "validation and test read whole documents both ways"
            )

    def on_fit_end(self) -> None:
        """From now on the embedding is an ordinary one."""
        embedding = self.network.embedding
        if embedding.rows is not None:
            embedding.rows.flush()
            embedding.rows = None

    def on_train_epoch_start(self) -> None:
        """An epoch's stream rows start with new documents."""
        self._waiting = None
        self._answers = []

    def running_state(self) -> dict[str, Any]:
        """What training in mid-epoch needs besides the weights, as plain containers of tensors."""
        waiting = self._waiting
        return {
            "stream": None if waiting is None else (waiting.state, waiting.masks, waiting.pooled),
            "answers": _joined(self._answers),
            "recomputed_steps": self.recomputed_steps,
        }

    def load_running_state(self, state: dict[str, Any]) -> None:
        """Go on in mid-epoch with what `running_state` gave, on this module's device."""
        state = move_data_to_device(state, self.device)
        waiting = state["stream"]
        self._waiting = None if waiting is None else CarriedState(*(tuple(part) for part in waiting))
        self._answers = [] if state["answers"] is None else [state["answers"]]
        self.recomputed_steps = state.get("recomputed_steps", 0)

    def on_train_epoch_end(self) -> None:
        """Training accuracy and F1 of the epoch, as the model was when it read each document."""
        answers = _joined(self._answers)
        if answers is not None:
            self.train_metrics.update(*answers)
        elif self.trainer.world_size == 1:  # one of several devices may have had no document
            return
        self.log_dict(self.train_metrics.compute())
        self.train_metrics.reset()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Read whole documents; their loss and metrics wait until all have been read."""
        self._valid_rows.append((self(batch).float(), batch.scores, batch.labels))

    def on_validation_epoch_end(self) -> None:
        """Loss and metrics of all documents, with the mix of network and linear model that fits them best."""
        if self.network.mix is not None and not self.trainer.sanity_checking:
            own = [[None if part is None else part.cpu().numpy() for part in row] for row in self._valid_rows]
            columns = zip(*chain(*of_all_devices(own)), strict=True)
            self.network.mix.copy_(torch.from_numpy(fit_mix(*map(np.concatenate, columns))))
        for logits, scores, labels in self._valid_rows:
            _update(self.val_metrics, self.val_loss, self.network.mixed(logits, scores), labels)
        self._valid_rows.clear()
        self.log("val/loss", self.val_loss)
        self.log_dict(self.val_metrics)

    def on_test_start(self) -> None:
        self._test_rows.clear()

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Loss and metrics over whole documents; every prediction is kept."""
        own = self(batch)
        logits = self.network.mixed(own, batch.scores)
        _update(self.test_metrics, self.test_loss, logits, batch.labels)
        if self.network.mix is not None:
            alone = (own.argmax(1) == batch.labels).float().mean()
            self.log(NETWORK_ALONE, alone, on_step=False, on_epoch=True, batch_size=batch.num_documents, sync_dist=True)
        self.log("test/loss", self.test_loss, on_step=False, on_epoch=True, batch_size=batch.num_documents)
        self.log_dict(self.test_metrics, on_step=False, on_epoch=True, batch_size=batch.num_documents)
        self._test_rows.append((batch.ids.cpu(), batch.labels.cpu(), logits.float().softmax(dim=1).cpu()))

    def on_test_epoch_end(self) -> None:
        """Predictions of all documents, in the order of their ids, on every device."""
        rows = chain(*of_all_devices(self._test_rows))
        ids, labels, probabilities = (torch.cat(column) for column in zip(*rows, strict=True))
        order = ids.argsort()
        top = probabilities[order].max(dim=1)
        self.test_predictions = {
            "ids": ids[order].numpy(),
            "labels": labels[order].numpy(),
            "predicted": top.indices.numpy(),
            "probability": top.values.numpy(),
        }

    def configure_optimizers(self) -> Any:
        optimizer = self._optimizer(self.parameters())
        embedding, one_cpu = self.network.embedding, self.device.type == "cpu" and self.trainer.world_size == 1
        if isinstance(optimizer, RowAdamW) and not optimizer.only_dense and one_cpu and embedding.weight.requires_grad:
            embedding.rows = optimizer.rows(embedding.weight)  # elsewhere every row is updated in every step
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
        if self.network.embedding.rows is not None and gradient_clip_val:
            parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
            clip_gradients(parameters, gradient_clip_val, gradient_clip_algorithm == "value")
            return
        plugin = self.trainer.precision_plugin
        if not isinstance(plugin, MixedPrecision) or not gradient_clip_val:
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)
            return
        if plugin.scaler is not None and getattr(optimizer, "_step_supports_amp_scaling", False):
            plugin.scaler.unscale_(optimizer)
        algorithm = GradClipAlgorithmType(gradient_clip_algorithm or GradClipAlgorithmType.NORM)
        Precision.clip_gradients(plugin, optimizer, gradient_clip_val, algorithm)

    def _within_budget(self, batch: Batch) -> Truncation:
        """How to read ``batch``; the first that passes the budget is told of. Each device decides on its own rows."""
        if self.budget is None:
            return self.truncation
        needed, limit = self.budget.estimate_mib(self.network, batch), self.budget.limit_mib(self.device)
        if needed <= limit or len(batch.shapes) == 1:
            return self.truncation
        if not self.recomputed_steps:
            _say(
                f"a batch of {batch.num_tokens:,} tokens would keep about {needed:,.0f} MiB of activations: from "
                f"{limit:,.0f} MiB on (tbptt.memory_mib) they are computed again in the backward pass, which changes "
                "no result and takes such a batch a third more time; tbptt.memory=retain keeps them"
            )
        self.recomputed_steps += 1
        return replace(self.truncation, recompute=True)

    def _each_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """(B,) what training makes smaller, per document."""
        return F.cross_entropy(
            logits, labels, self.class_weights, label_smoothing=self.label_smoothing, reduction="none"
        )


def _joined(answers: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor] | None:
    """Predicted and true classes, (N,) each; None where there is no document."""
    if not answers:
        return None
    predicted, labels = (torch.cat(part) for part in zip(*answers, strict=True))
    return predicted, labels


def _update(metrics: MetricCollection, loss: MeanMetric, logits: Tensor, labels: Tensor) -> None:
    if len(labels):  # one of several devices may have none left
        metrics.update(logits, labels)
        loss.update(F.cross_entropy(logits, labels, reduction="none"))


@rank_zero_only
def _say(message: str) -> None:
    log.info("%s", message)
