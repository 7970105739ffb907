"""Study of the two schedules at equal numbers of tokens. Run: python experiments/schedules/run.py

The same LSTM reads Reuters R8 and 20 Newsgroups equally often, as batches of whole documents with one optimizer step
each, or as a stream with a step after every chunk. The learning rate of each is chosen on validation.
"""

import argparse
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from matplotlib.figure import Figure

from unrolled.studies.study import Report, run_study
from unrolled.studies.table import StudyTable, spread
from unrolled.studies.trainings import Training, train_all
from unrolled.train.results import RunResult

CHUNK = 64  # tokens
WAYS = {
    "documents, truncated": ("tbptt=chunk100", f"tbptt.chunk_len={CHUNK}"),
    "documents, exact": ("tbptt=exact100", f"tbptt.chunk_len={CHUNK}"),
    "stream, loss final": ("tbptt=stream64", f"tbptt.chunk_len={CHUNK}", "tbptt.loss=final"),
    "stream, loss linear": ("tbptt=stream64", f"tbptt.chunk_len={CHUNK}", "tbptt.loss=linear"),
    "stream, loss every": ("tbptt=stream64", f"tbptt.chunk_len={CHUNK}", "tbptt.loss=every"),
}


@dataclass(frozen=True)
class Corpus:
    """A data set, for how long it is read, and in which ways."""

    data: str
    epochs: int
    learning_rates: tuple[float, ...]
    ways: tuple[str, ...] = tuple(WAYS)


@dataclass(frozen=True)
class Sizes:
    """What is trained."""

    corpora: tuple[Corpus, ...] = (
        Corpus("reuters_r8", 6, (0.005, 0.01, 0.02, 0.04)),
        Corpus(
            "newsgroups",
            4,
            (0.005, 0.01, 0.02, 0.04),
            ("documents, truncated", "stream, loss linear", "stream, loss every"),
        ),
    )
    seeds: tuple[int, ...] = (0, 1, 2)  # the first one chooses the learning rate
    settings: tuple[str, ...] = ("model=lstm", "model.hidden_size=64", "embedding.embedding_dim=64")


@dataclass(frozen=True)
class Row:
    """One run."""

    data: str
    way: str
    lr: float
    seed: int
    chosen: bool  # whether the run's learning rate is its way's best in validation
    test_accuracy: float
    valid_accuracy: float
    valid_curve: tuple[float, ...]  # validation accuracy after each epoch
    tokens_seen: tuple[float, ...]  # real tokens read by then
    steps: float  # of the optimizer
    training_cpu_s: float  # seconds that the processor worked in training and validation
    peak_mb: float  # MiB resident


def training(corpus: Corpus, way: str, lr: float, seed: int, sizes: Sizes) -> Training:
    """The run of one combination."""
    name = f"{corpus.data}_{way.replace(', ', '_').replace(' ', '_')}_lr_{lr}_s{seed}"
    overrides = (f"data={corpus.data}", *WAYS[way], f"optimizer.lr={lr}")
    return Training(name, (*sizes.settings, *overrides, f"trainer.max_epochs={corpus.epochs}", f"seed={seed}"))


def row(corpus: Corpus, way: str, result: RunResult, chosen: bool) -> Row:
    """What the table needs of a run's record."""
    epochs = result.history
    return Row(
        data=corpus.data,
        way=way,
        lr=result.config["optimizer"]["lr"],
        seed=result.config["seed"],
        chosen=chosen,
        test_accuracy=result.metrics["test/accuracy"],
        valid_accuracy=result.metrics["val/accuracy"],
        valid_curve=tuple(epoch["val/accuracy"] for epoch in epochs),
        tokens_seen=tuple(epoch["tokens_seen"] for epoch in epochs),
        steps=epochs[-1]["step"],
        training_cpu_s=epochs[-1]["cpu_seconds"],
        peak_mb=result.speed["peak_memory_mb"],
    )


def rows_of(sizes: Sizes, runs: Path, jobs: int) -> list[Row]:
    """First the learning rates with one seed, then the best of each way with the others."""
    ways = [(corpus, way) for corpus in sizes.corpora for way in corpus.ways]
    first, *others = sizes.seeds
    tried = [(corpus, way, lr) for corpus, way in ways for lr in corpus.learning_rates]
    results = train_all([training(*each, first, sizes) for each in tried], runs, jobs)
    found = dict(zip(tried, results, strict=True))
    best = {
        (corpus, way): max(corpus.learning_rates, key=lambda lr: found[corpus, way, lr].metrics["val/accuracy"])
        for corpus, way in ways
    }
    repeated = [(corpus, way, best[corpus, way], seed) for seed in others for corpus, way in ways]
    again = train_all([training(*each, sizes) for each in repeated], runs, jobs)
    rows = [row(corpus, way, found[corpus, way, lr], best[corpus, way] == lr) for corpus, way, lr in tried]
    rows += [row(corpus, way, result, True) for (corpus, way, _, _), result in zip(repeated, again, strict=True)]
    order = {(corpus.data, way): i for i, (corpus, way) in enumerate(ways)}
    return sorted(rows, key=lambda r: (order[r.data, r.way], r.lr, r.seed))


def table(rows: Sequence[Row]) -> StudyTable:
    """A line per data set and way, over the seeds, at the learning rate chosen."""
    lines = []
    for data, way in dict.fromkeys((r.data, r.way) for r in rows):
        own = [r for r in rows if (r.data, r.way) == (data, way) and r.chosen]
        lines.append(
            [
                data,
                way,
                f"{own[0].lr}",
                spread([100 * r.test_accuracy for r in own]),
                spread([100 * r.valid_accuracy for r in own]),
                f"{own[0].tokens_seen[-1] / 1e6:.2f}",
                f"{own[0].steps:,.0f}",
                f"{statistics.median(r.training_cpu_s for r in own):.0f}",
                f"{statistics.median(r.peak_mb for r in own):,.0f}",
            ]
        )
    figures = ["test accuracy, %", "validation, %", "M tokens", "steps", "CPU time, s", "peak MiB"]
    return StudyTable(["data", "schedule", "lr", *figures], lines, names=2)


def plot(rows: Sequence[Row]) -> Figure:
    """Validation accuracy against tokens read: mean and range over the seeds."""
    corpora = list(dict.fromkeys(r.data for r in rows))
    figure = Figure(figsize=(5.5 * len(corpora), 4), layout="constrained")
    for axes, data in zip(figure.subplots(1, len(corpora), squeeze=False)[0], corpora, strict=True):
        for way in dict.fromkeys(r.way for r in rows if r.data == data):
            own = [r for r in rows if (r.data, r.way) == (data, way) and r.chosen]
            curves = [[100 * value for value in values] for values in zip(*(r.valid_curve for r in own), strict=True)]
            tokens = [seen / 1e6 for seen in own[0].tokens_seen]
            color = f"C{list(WAYS).index(way)}"
            axes.plot(tokens, [statistics.mean(at) for at in curves], marker="o", color=color, label=way)
            axes.fill_between(tokens, [min(at) for at in curves], [max(at) for at in curves], color=color, alpha=0.2)
        axes.set(title=data, xlabel="tokens read (millions)", ylabel="validation accuracy (%)")
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
    return figure


def study(arguments: argparse.Namespace) -> Report:
    """Train all of them and report."""
    sizes = Sizes()
    if arguments.quick:
        few = ("data.limit=200", "model=lstm", "model.hidden_size=8", "embedding.embedding_dim=8")
        corpus = Corpus("reuters_r8", 1, (0.0001, 0.01), ("stream, loss every",))
        sizes = Sizes((corpus,), (0, 1), few)
    rows = rows_of(sizes, arguments.runs, arguments.jobs)
    tried = "; ".join(f"{c.data}: {', '.join(map(str, c.learning_rates))}" for c in sizes.corpora)
    text = (
        f"Made by `python experiments/schedules/run.py --jobs {arguments.jobs}` with torch {torch.__version__}, one "
        f"thread per run. Learning rate: the best in validation with seed {sizes.seeds[0]} ({tried}). Accuracy: mean "
        f"and range over {len(sizes.seeds)} seeds; processor time of all epochs with their validation and peak "
        "resident memory: median."
    )
    about = {"jobs": arguments.jobs, "sizes": asdict(sizes)}
    return Report(table(rows), rows, text, about, plot(rows), "schedules.png", "validation accuracy against tokens")


if __name__ == "__main__":
    run_study(
        __file__,
        study,
        description="Whole documents against streams at equal tokens.",
        quick="few documents, one way, one epoch",
    )
