"""Parameter counts and the list of layers."""

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.utilities.model_summary import ModelSummary as LightningSummary
from torch import nn

from unrolled.train.callbacks.loggers import summary_writers, write_scalars

PARTS = ("embedding", "encoder", "pooling", "head")


def count_parameters(model: nn.Module) -> dict[str, int]:
    """Parameters in ``total`` and of each part that ``model`` has, frozen ones included, shared ones once in a part.

    The parts are the attributes ``embedding``, ``encoder``, ``pooling`` and ``head``; a pooling without parameters
    is not listed.
    """
    model = getattr(model, "network", model)
    counts = {"total": sum(p.numel() for p in model.parameters())}
    for part in PARTS:
        module = getattr(model, part, None)
        if isinstance(module, nn.Module):
            count = sum(p.numel() for p in module.parameters())
            if count or part != "pooling":
                counts[part] = count
    return counts


class ModelSummary(Callback):
    """Logs ``model/parameters_total`` and one number per part at the start, and the list of layers as text."""

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.ckpt_path is not None:  # going on: it stands there already
            return
        counts = count_parameters(pl_module)
        write_scalars(trainer, {f"model/parameters_{part}": float(count) for part, count in counts.items()}, 0)
        layers = str(LightningSummary(pl_module, max_depth=3))
        for writer in summary_writers(trainer):
            writer.add_text("model/summary", "\n".join(f"    {line}" for line in layers.splitlines()), 0)
