"""Configuration of the run as a text in TensorBoard."""

from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
from omegaconf import OmegaConf
from pytorch_lightning.callbacks import Callback

from unrolled.train.callbacks.loggers import summary_writers


class ConfigText(Callback):
    """Writes the resolved configuration as the text ``config``."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config = config

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.ckpt_path is not None:  # going on: it stands there already
            return
        text = OmegaConf.to_yaml(OmegaConf.create(dict(self.config)))
        for writer in summary_writers(trainer):
            writer.add_text("config", "\n".join(f"    {line}" for line in text.splitlines()), 0)  # indented: code
