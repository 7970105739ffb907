"""Study of the chunk length: accuracy, time and memory. Run: python experiments/chunk_length/run.py

The same LSTM is trained on Reuters R8 and on 20 Newsgroups with batches of whole documents and a gradient that is
truncated after 16 to 256 tokens, or not at all, with three seeds each.
"""

import argparse
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from matplotlib.figure import Figure

from unrolled.studies.study import Report, run_study
from unrolled.studies.table import StudyTable, spread
from unrolled.studies.trainings import Training, train_all
from unrolled.train.results import RunResult


@dataclass(frozen=True)
class Sizes:
    """What is trained."""

    # data set, pooling and epochs
    corpora: tuple[tuple[str, str, int], ...] = (
        ("reuters_r8", "concat", 6),
        ("reuters_r8", "last", 6),
        ("newsgroups", "concat", 4),
    )
    chunk_lens: tuple[int | None, ...] = (16, 64, 256, None)  # tokens; None: a document is one chunk
    seeds: tuple[int, ...] = (0, 1, 2)
    settings: tuple[str, ...] = ("model=lstm", "model.hidden_size=64", "embedding.embedding_dim=64")


@dataclass(frozen=True)
class Row:
    """One run."""

    data: str
    pooling: str
    chunk_len: int | None
    seed: int
    test_accuracy: float
    valid_accuracy: float
    training_s: float  # seconds of all epochs with their validation
    training_cpu_s: float  # seconds that the processor worked in them
    peak_mb: float  # MiB resident


def training(data: str, pooling: str, epochs: int, chunk_len: int | None, seed: int, sizes: Sizes) -> Training:
    """The run of one combination."""
    chunk = "full" if chunk_len is None else str(chunk_len)
    tbptt = ("tbptt=full",) if chunk_len is None else ("tbptt=chunk100", f"tbptt.chunk_len={chunk_len}")
    overrides = (f"data={data}", f"pooling={pooling}", *tbptt, f"trainer.max_epochs={epochs}", f"seed={seed}")
    return Training(f"{data}_{pooling}_chunk_{chunk}_s{seed}", (*sizes.settings, *overrides))


def row(result: RunResult) -> Row:
    """What the table needs of a run's record."""
    config, epochs = result.config, result.history
    return Row(
        data=result.data,
        pooling=config["pooling"]["_target_"].rpartition(".")[2].lower(),
        chunk_len=config["tbptt"]["chunk_len"],
        seed=config["seed"],
        test_accuracy=result.metrics["test/accuracy"],
        valid_accuracy=result.metrics["val/accuracy"],
        training_s=epochs[-1]["seconds"],
        training_cpu_s=epochs[-1]["cpu_seconds"],
        peak_mb=result.speed["peak_memory_mb"],
    )


def table(rows: Sequence[Row]) -> StudyTable:
    """A line per data set, pooling and chunk length, over the seeds."""
    lines = []
    for data, pooling, chunk_len in dict.fromkeys((r.data, r.pooling, r.chunk_len) for r in rows):
        own = [r for r in rows if (r.data, r.pooling, r.chunk_len) == (data, pooling, chunk_len)]
        seconds = statistics.median(r.training_cpu_s for r in own)
        full = [r.training_cpu_s for r in rows if (r.data, r.pooling, r.chunk_len) == (data, pooling, None)]
        ratio = f"{seconds / statistics.median(full):.2f}" if full else ""
        lines.append(
            [
                data,
                pooling,
                "full" if chunk_len is None else f"{chunk_len}",
                spread([100 * r.test_accuracy for r in own]),
                spread([100 * r.valid_accuracy for r in own]),
                f"{seconds:.0f}",
                ratio,
                f"{statistics.median(r.peak_mb for r in own):,.0f}",
            ]
        )
    header = [
        "data",
        "pooling",
        "chunk_len",
        "test accuracy, %",
        "validation, %",
        "CPU time, s",
        "over full",
        "peak MiB",
    ]
    return StudyTable(header, lines, names=3)


def plot(rows: Sequence[Row]) -> Figure:
    """Accuracy, time and memory against chunk length."""
    figure = Figure(figsize=(12, 4), layout="constrained")
    panels = figure.subplots(1, 3)
    lengths = sorted({r.chunk_len for r in rows if r.chunk_len is not None})
    places = {length: i for i, length in enumerate([*lengths, None])}
    for i, (data, pooling) in enumerate(dict.fromkeys((r.data, r.pooling) for r in rows)):
        own = [r for r in rows if (r.data, r.pooling) == (data, pooling)]
        chunks = sorted({r.chunk_len for r in own}, key=lambda length: places[length])
        at = [places[chunk] for chunk in chunks]
        for axes, name, factor in zip(panels, ("test_accuracy", "training_cpu_s", "peak_mb"), (100, 1, 1), strict=True):
            groups = [[factor * getattr(r, name) for r in own if r.chunk_len == chunk] for chunk in chunks]
            middles = [statistics.mean(group) for group in groups]
            below = [middle - min(group) for middle, group in zip(middles, groups, strict=True)]
            above = [max(group) - middle for middle, group in zip(middles, groups, strict=True)]
            axes.errorbar(at, middles, (below, above), marker="o", capsize=3, color=f"C{i}", label=f"{data}, {pooling}")
    for axes, title in zip(
        panels, ("test accuracy (%)", "CPU time of training (s)", "peak resident memory (MiB)"), strict=True
    ):
        axes.set(title=title, xlabel="chunk_len (tokens)")
        axes.set_xticks(list(places.values()), ["full" if length is None else str(length) for length in places])
        axes.grid(alpha=0.3)
    panels[1].set_ylim(0)
    panels[2].set_ylim(0)
    panels[0].legend(fontsize="small")
    return figure


def study(arguments: argparse.Namespace) -> Report:
    """Train all of them and report."""
    sizes = Sizes()
    if arguments.quick:
        few = ("data.limit=200", "model=lstm", "model.hidden_size=8", "embedding.embedding_dim=8")
        sizes = Sizes((("reuters_r8", "concat", 1),), (16, None), (0,), few)
    # seeds outermost: what else the machine does then is spread over the chunk lengths
    trainings = [
        training(data, pooling, epochs, chunk_len, seed, sizes)
        for seed in sizes.seeds
        for data, pooling, epochs in sizes.corpora
        for chunk_len in sizes.chunk_lens
    ]
    results = train_all(trainings, arguments.runs, arguments.jobs)
    order = {(data, pooling): i for i, (data, pooling, _) in enumerate(sizes.corpora)}
    rows = sorted((row(result) for result in results), key=lambda r: order[r.data, r.pooling])
    text = (
        f"Made by `python experiments/chunk_length/run.py --jobs {arguments.jobs}` with torch {torch.__version__}, one "
        f"thread per run. Accuracy: mean and range over {len(sizes.seeds)} seeds; processor time of all epochs with "
        "their validation and peak resident memory: median."
    )
    about = {"jobs": arguments.jobs, "sizes": asdict(sizes)}
    return Report(table(rows), rows, text, about, plot(rows), "chunk_length.png", "accuracy, time, memory")


if __name__ == "__main__":
    run_study(
        __file__,
        study,
        description="Accuracy, time and memory against the chunk length.",
        quick="few documents, one epoch, one seed",
    )
