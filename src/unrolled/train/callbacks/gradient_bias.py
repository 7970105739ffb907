"""Bias of the truncated gradient during training."""

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from unrolled.tbptt.bias import gradient_bias
from unrolled.tbptt.datamodule import DocumentsDataModule
from unrolled.tbptt.schedule import DocumentsSchedule
from unrolled.train.callbacks.loggers import write_scalars
from unrolled.train.classifier import Classifier


class GradientBias(Callback):
    """Logs ``tbptt/gradient_bias`` and ``tbptt/gradient_cosine`` before the first step and after each epoch.

    The gradient cut at the run's chunk boundaries is compared with the exact one on the same few batches of whole
    training documents each time (see `gradient_bias`; Aicher et al. 2019), whatever the run's schedule. It is computed
    with recomputation, so long documents fit, and costs about three times as much as training on them. Weights,
    gradients and generators of the run are not touched.
    """

    def __init__(self, batches: int = 4, batch_size: int = 32) -> None:
        self.batches = batches
        self.batch_size = batch_size

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.global_step == 0:
            self._log(trainer, pl_module)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._log(trainer, pl_module)

    def _log(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        data = trainer.datamodule  # type: ignore[attr-defined]
        assert isinstance(pl_module, Classifier)
        assert isinstance(data, DocumentsDataModule)
        if trainer.is_global_zero:
            schedule = DocumentsSchedule(data.prepared.train, self.batch_size, data.tbptt.chunk_len, data.seed)
            batches = schedule.batches(0)
            bias = gradient_bias(pl_module.network, [batches[i] for i in range(min(self.batches, len(batches)))])
            scalars = {"tbptt/gradient_bias": bias.relative_error, "tbptt/gradient_cosine": bias.cosine}
            write_scalars(trainer, scalars, max(trainer.global_step - 1, 0))
