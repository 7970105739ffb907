"""Predictions on the test set in TensorBoard: confusion matrix and examples."""

import html
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from unrolled.tbptt.datamodule import DocumentsDataModule
from unrolled.train.callbacks.loggers import summary_writers
from unrolled.train.confusions import draw_confusion_matrix


class ConfusionMatrix(Callback):
    """Draws the confusion matrix of the test set as ``test/confusion_matrix``.

    The module must have ``class_names`` (index = class) and, after testing, ``test_predictions`` with ``labels`` (N,)
    and ``predicted`` (N,).
    """

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        from sklearn.metrics import confusion_matrix  # takes a second

        predictions, names = _of_test(pl_module)
        counts = confusion_matrix(predictions["labels"], predictions["predicted"], labels=range(len(names)))
        for writer in summary_writers(trainer):
            writer.add_figure("test/confusion_matrix", draw_confusion_matrix(counts, names), trainer.global_step)


class ExamplePredictions(Callback):
    """Writes the text ``test/examples``: the most confident errors, and some documents at random.

    count: of each; tokens: how many of a document's first tokens are shown, as the model read them. Beside what
    `ConfusionMatrix` needs, ``test_predictions`` must have ``ids`` and ``probability``, each (N,).
    """

    def __init__(self, count: int = 10, tokens: int = 40) -> None:
        self.count = count
        self.tokens = tokens

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        data = trainer.datamodule  # type: ignore[attr-defined]
        if not trainer.is_global_zero or not isinstance(data, DocumentsDataModule):
            return
        predictions, names = _of_test(pl_module)
        wrong = np.flatnonzero(predictions["labels"] != predictions["predicted"])
        confident = wrong[np.argsort(-predictions["probability"][wrong], kind="stable")][: self.count]
        everyone = len(predictions["labels"])
        some = np.random.default_rng(0).choice(everyone, size=min(self.count, everyone), replace=False)
        vocabulary, corpus = data.prepared.vocabulary, data.prepared.test
        place = {int(identity): index for index, identity in enumerate(corpus.ids)}
        lines = []
        for title, chosen in (("Most confident errors", confident), ("Some documents", np.sort(some))):
            lines += [f"### {title}", "", "| class | predicted | probability | text |", "| --- | --- | --- | --- |"]
            for i in chosen.tolist():
                ids = corpus.document(place[int(predictions["ids"][i])])
                text = " ".join(vocabulary.tokens[token] for token in ids[: self.tokens].tolist())
                text += " ..." if len(ids) > self.tokens else ""
                cells = [str(names[predictions["labels"][i]]), str(names[predictions["predicted"][i]])]
                cells += [f"{predictions['probability'][i]:.3f}", text]
                lines.append("| " + " | ".join(html.escape(cell).replace("|", "\\|") for cell in cells) + " |")
            lines.append("")
        for writer in summary_writers(trainer):
            writer.add_text("test/examples", "\n".join(lines), trainer.global_step)


def _of_test(pl_module: pl.LightningModule) -> tuple[dict[str, Any], Sequence[str]]:
    predictions, names = pl_module.test_predictions, pl_module.class_names
    assert isinstance(predictions, dict)
    assert isinstance(names, Sequence)
    return predictions, names
