"""Description of a run in TensorBoard: its configuration, the layers of its model, and their parameters."""

from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
from omegaconf import OmegaConf
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.utilities.model_summary import ModelSummary as LightningSummary
from torch import nn

from unrolled.train.callbacks.loggers import summary_writers, write_scalars

PARTS = ("embedding", "encoder", "pooling", "head")


def count_parameters(model: nn.Module) -> dict[str, int]:
    """Parameters in ``total`` and of each part that ``model`` has, frozen ones included, shared ones once in a part.

    The parts are the attributes ``embedding``, ``encoder``, ``pooling`` and ``head``; a pooling without parameters
    is not listed. ``linear_parameters``, those of the linear model that a network is mixed with, are a part, too.
    """
    linear = getattr(model, "linear_parameters", 0)
    model = getattr(model, "network", model)
    parts = {"total": model} | {name: part for name, part in model.named_children() if name in PARTS}
    counts = {name: sum(p.numel() for p in part.parameters()) for name, part in parts.items()}
    counts |= {"linear": linear, "total": counts["total"] + linear} if linear else {}
    return {name: count for name, count in counts.items() if count or name != "pooling"}


class ModelSummary(Callback):
    """Logs ``model/parameters_total`` and one number per part at the start, and the list of layers as text."""

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.ckpt_path is not None:  # going on: it stands there already
            return
        counts = count_parameters(pl_module)
        write_scalars(trainer, {f"model/parameters_{part}": float(count) for part, count in counts.items()}, 0)
        _write_code(trainer, "model/summary", str(LightningSummary(pl_module, max_depth=3)))


class ConfigText(Callback):
    """Writes the resolved configuration as the text ``config``."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config = config

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.ckpt_path is None:
            _write_code(trainer, "config", OmegaConf.to_yaml(OmegaConf.create(dict(self.config))))


def _write_code(trainer: pl.Trainer, tag: str, text: str) -> None:
    for writer in summary_writers(trainer):
        writer.add_text(tag, "\n".join(f"    {line}" for line in text.splitlines()), 0)  # indented: Markdown's code
