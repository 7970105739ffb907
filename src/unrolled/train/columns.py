"""The measured columns of all tables of runs: where a number is recorded, which is better, and how it is written."""

from dataclasses import dataclass

from unrolled.train.results import RunResult


@dataclass(frozen=True)
class Column:
    """A number that every finished run has recorded."""

    name: str  # for --sort, and the heading in CSV and JSON
    label: str
    source: str  # field of RunResult
    key: str  # in that field; empty: the field itself
    higher_is_better: bool
    is_timing: bool = False  # whether it depends on the machine
    unit: str = ""
    digits: int = 0

    @property
    def title(self) -> str:
        """The heading of a column whose numbers stand without their unit."""
        return f"{self.label} {self.unit}".rstrip()

    def of(self, run: RunResult) -> float | None:
        """The number that ``run`` has recorded, shares and not percent; None where it has none."""
        value = getattr(run, self.source)
        return value.get(self.key) if self.key else value

    def text(self, number: float) -> str:
        """``0.8125`` is ``81.25`` where the unit is percent, ``1234567`` is ``1,234,567``; zero has no sign."""
        return f"{number * (100 if self.unit == '%' else 1):z,.{self.digits}f}"

    def text_with_unit(self, number: float | None) -> str:
        """``81.25 %``; a duration is ``1:35``; a dash where there is no number."""
        if number is None:
            return "-"
        return clock(number) if self.unit == "s" else f"{self.text(number)} {self.unit}".rstrip()


class OverLinear(Column):
    """By how much a run's metric exceeds that of the linear model of the same documents, which ran beside it."""

    def of(self, run: RunResult) -> float | None:
        """A share, negative where the linear model is better; None without one."""
        ours, theirs = run.metrics.get(self.key), run.baseline.get(self.key)
        return None if ours is None or theirs is None else ours - theirs


def clock(seconds: float) -> str:
    """``75`` is ``1:15``, ``3700`` is ``1:01:40``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def duration(seconds: float) -> str:
    """About how long: ``75`` is ``75 s``, ``100`` is ``1.7 min``, ``10000`` is ``2.8 h``."""
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.2g} {unit}"
    return f"{max(seconds, 1):.0f} s"


COLUMNS = (
    Column("test_accuracy", "test acc", "metrics", "test/accuracy", True, unit="%", digits=2),
    Column("test_macro_f1", "macro F1", "metrics", "test/macro_f1", True, unit="%", digits=2),
    OverLinear("over_linear", "over linear", "metrics", "test/accuracy", True, unit="%", digits=2),
    Column("val_accuracy", "val acc", "metrics", "val/accuracy", True, unit="%", digits=2),
    Column("parameters", "parameters", "parameters", "total", False),
    Column("encoder_parameters", "encoder", "parameters", "encoder", False),
    Column("tokens_per_second", "tokens/s", "speed", "tokens_per_second", True, is_timing=True),
    Column("ms_per_step", "ms/step", "speed", "ms_per_step", False, is_timing=True, digits=1),
    Column("peak_memory_mb", "memory", "speed", "peak_memory_mb", False, is_timing=True, unit="MiB"),
    Column("wall_time_s", "time", "wall_time_s", "", False, is_timing=True, unit="s", digits=1),
)
BY_NAME = {column.name: column for column in COLUMNS}
