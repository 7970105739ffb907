"""Runs as training leaves them, without the training."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch.utils.tensorboard import SummaryWriter

from unrolled.runs.results import RunResult, load_result, recorded_run, save_predictions

ENVIRONMENT = {
    "device": "cpu",
    "device_name": "a processor",
    "precision": "32-true",
    "threads": 2,
    "timed_in_parallel": False,
}


@pytest.fixture
def record(tmp_path: Path) -> Callable[..., RunResult]:
    """Writes a run under ``tmp_path/runs``; ``right``: whether it is right on each of the test documents."""
    count = 0

    def write(
        model: str = "lstm",
        seed: int = 0,
        accuracy: float | None = 0.8,
        config: dict[str, Any] | None = None,
        right: list[bool] | None = None,
        error: str | None = None,
        environment: dict[str, Any] | None = None,
        curve: dict[int, float] | None = None,
        **fields: Any,
    ) -> RunResult:
        nonlocal count
        count += 1
        directory = tmp_path / "runs" / model / str(count)
        settings = {"seed": seed, "name": f"{model} {count}", "model": {"_target_": f"x.{model}"}} | (config or {})
        try:
            with recorded_run(directory, settings, name=model, model=model, data="tweets") as result:
                result.environment = ENVIRONMENT | (environment or {})
                if error is not None:
                    raise RuntimeError(error)
                if accuracy is not None:
                    result.metrics = {"test/accuracy": accuracy, "test/macro_f1": accuracy - 0.05, "val/accuracy": 0.9}
                result.parameters = {"total": 100, "encoder": 60}
                result.speed = {"tokens_per_second": 1000.0, "ms_per_step": 5.0, "peak_memory_mb": 50.0}
                result.class_names = ["no", "yes"]
                for name, value in fields.items():
                    setattr(result, name, value)
                if right is not None:
                    labels = np.arange(len(right)) % 2
                    predicted = np.where(right, labels, 1 - labels)
                    columns = {"ids": np.arange(len(right)), "labels": labels, "predicted": predicted}
                    save_predictions(directory, columns | {"probability": np.full(len(right), 0.75)}, ["no", "yes"])
                    result.predictions = "predictions.csv"
                if curve is not None:
                    with SummaryWriter(str(directory)) as writer:
                        for step, value in curve.items():
                            writer.add_scalar("val/accuracy", value, step)
        except RuntimeError:
            return load_result(directory)
        return load_result(directory)

    return write
