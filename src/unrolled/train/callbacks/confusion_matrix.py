"""Figure of the confusion matrix in TensorBoard."""

from collections.abc import Sequence

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from unrolled.train.callbacks.loggers import summary_writers
from unrolled.train.confusions import count_confusions, draw_confusion_matrix


class ConfusionMatrix(Callback):
    """Draws the confusion matrix of the test set as ``test/confusion_matrix``.

    The module must have ``class_names`` (index = class) and, after testing, ``test_predictions`` with ``labels`` (N,)
    and ``predicted`` (N,).
    """

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        predictions, names = pl_module.test_predictions, pl_module.class_names
        assert isinstance(predictions, dict)
        assert isinstance(names, Sequence)
        counts = count_confusions(predictions["labels"], predictions["predicted"], len(names))
        for writer in summary_writers(trainer):
            writer.add_figure("test/confusion_matrix", draw_confusion_matrix(counts, names), trainer.global_step)
