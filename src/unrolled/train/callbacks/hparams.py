"""Hyperparameters and results of the run, for TensorBoard's HParams tab."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from unrolled.train.callbacks.history import History
from unrolled.train.callbacks.loggers import summary_writers
from unrolled.train.callbacks.model_summary import count_parameters
from unrolled.train.callbacks.speed import Speed

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class HParams(Callback):
    """Writes one row of the HParams table, exactly once, after the test.

    keys: dotted paths into ``config``, such as ``model.hidden_size``: the chosen settings; a mapping gives them other
    names in the table. One that ``config`` lacks or sets to None becomes "none", so that all runs have the same
    columns. The metrics are those of the ``History`` callback, tagged ``final/val_accuracy`` and so on: tags of their
    own, so that no curve gets a second point. With them go the speed, where ``Speed`` has measured it, and the number
    of parameters. A run that is never tested gets its row by ``write``.
    """

    def __init__(self, config: Mapping[str, Any], keys: Sequence[str] | Mapping[str, str]) -> None:
        named = keys if isinstance(keys, Mapping) else {key: key for key in keys}
        self.values = {name: _plain(_look_up(config, key)) for name, key in named.items()}
        self.written = False

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.write(trainer)

    def write(self, trainer: pl.Trainer) -> None:
        """Write the row now, with the metrics there are; a second call does nothing."""
        if self.written:
            return
        history = next((c for c in trainer.callbacks if isinstance(c, History)), None)  # type: ignore[attr-defined]
        if history is None:
            raise RuntimeError("the HParams callback takes its metrics from History: give History to the trainer too")
        if trainer.state.fn == "test":
            history.on_test_end(trainer, trainer.lightning_module)  # whichever of the two stands first in the list
        outcome = history.metrics()
        metrics = {f"final/{name.replace('/', '_')}": outcome[name] for name in sorted(outcome, key=_importance)}
        speed = next((c.result()["tokens_per_second"] for c in trainer.callbacks if isinstance(c, Speed)), None)  # type: ignore[attr-defined]
        if speed is not None:
            metrics["final/tokens_per_second"] = speed
        metrics["final/parameters"] = float(count_parameters(trainer.lightning_module)["total"])
        for writer in summary_writers(trainer):
            write_hparams(writer, self.values, metrics)
        self.written = True


def write_hparams(
    writer: "SummaryWriter", values: Mapping[str, bool | int | float | str], metrics: Mapping[str, float]
) -> None:
    """Add a session with ``values`` and ``metrics`` to a writer's event file."""
    from torch.utils.tensorboard.summary import hparams  # imports TensorBoard's plugin: slow, and needed once only

    for tag, number in metrics.items():
        writer.add_scalar(tag, number, 0)
    for summary in hparams(dict(values), dict(metrics)):
        writer._get_file_writer().add_summary(summary, 0)
    writer.flush()


def _importance(name: str) -> tuple[int, int, str]:
    """Where a metric stands in the table: test before validation, accuracy first, loss last."""
    stage, _, kind = name.partition("/")
    return (stage != "test", {"accuracy": 0, "macro_f1": 1}.get(kind, 2), name)


def _look_up(config: Mapping[str, Any], key: str) -> Any:
    value: Any = config
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _plain(value: Any) -> bool | int | float | str:
    if value is None:
        return "none"
    return value if isinstance(value, bool | int | float | str) else str(value)
