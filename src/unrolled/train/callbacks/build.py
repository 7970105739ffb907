"""Building the callbacks of the configuration."""

from difflib import get_close_matches

from omegaconf import DictConfig
from pytorch_lightning.callbacks import Callback

from unrolled.config import Config
from unrolled.errors import UserError
from unrolled.train.build import build

LOGGED = tuple(f"{stage}/{name}" for stage in ("val", "train") for name in ("loss", "accuracy", "macro_f1"))


def build_callbacks(config: Config | DictConfig) -> list[Callback]:
    """Build the callbacks in the order of ``config.callbacks``; one that is null is left out.

    Raises UserError for a class that is no callback, for what a callback refuses, and for a ``monitor`` that no run
    logs.
    """
    callbacks = []
    for name, given in (config.callbacks or {}).items():
        key = f"callbacks.{name!s}"
        if given is None:
            continue
        callback = build(key, given)
        if not isinstance(callback, Callback):
            raise UserError(f"{key}._target_={given._target_}: this is not a Lightning callback")
        monitor = getattr(callback, "monitor", None)
        if isinstance(monitor, str) and monitor.startswith(("train/", "val/")) and monitor not in LOGGED:
            close = get_close_matches(monitor, LOGGED, n=1)
            hint = f"did you mean {close[0]}? " if close else ""
            raise UserError(f"{key}.monitor={monitor}: no run logs it; {hint}there are {', '.join(LOGGED)}")
        callbacks.append(callback)
    return callbacks
