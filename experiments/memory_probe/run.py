"""Study of how long a recurrence learns to remember. Run: python experiments/memory_probe/run.py

The class of a document is its first token, 50 to 2,000 tokens of noise follow, and pooling is the last output alone:
the hidden state must hold the token through all chunks, which a gradient or a loss on the way must teach it.
"""

import argparse
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from matplotlib.figure import Figure

from unrolled.studies.study import Report, run_study
from unrolled.studies.table import StudyTable
from unrolled.studies.trainings import Training, train_all
from unrolled.train.results import RunResult

CHUNK = 64  # tokens: the shortest documents are one chunk, all others several
LEARNED = 0.95  # share of right answers in test; by chance it is one half
WAYS = {
    "truncated": ("tbptt=chunk100", f"tbptt.chunk_len={CHUNK}"),
    "exact": ("tbptt=exact100", f"tbptt.chunk_len={CHUNK}", "tbptt.memory=retain"),
    "stream, loss every": ("tbptt=stream64", f"tbptt.chunk_len={CHUNK}", "tbptt.loss=every"),
    "carry off": ("tbptt=chunk100", f"tbptt.chunk_len={CHUNK}", "tbptt.carry=false"),
}
MODELS = {
    "rnn": ("model=rnn", "model.hidden_size=32", "model.orthogonal=true"),
    "gru": ("model=gru", "model.hidden_size=32", "model.chrono={length}"),
    "lstm": ("model=lstm", "model.hidden_size=32", "model.chrono={length}"),
    "lstmp": ("model=lstmp", "model.hidden_size=32", "model.proj_size=16", "model.chrono={length}"),
    "lstm, first weights as torch's": ("model=lstm", "model.hidden_size=32"),
}
SETTINGS = (
    "data=recall",
    "data.classes=2",
    "data.noise=other",
    "data.test=500",
    "model.shortcut=false",  # otherwise the pooling would see the last token's embedding, too
    "embedding.embedding_dim=16",
    "embedding.dropout=0",
    "embedding.word_dropout=0",
    "pooling=last",
    "pooling.dropout=0",
    "label_smoothing=0",
    "optimizer=adam",
    "optimizer.lr=0.01",
    "scheduler=constant",
    "tbptt.batch_size=32",  # documents, or stream rows
    "trainer.val_check_interval=0.5",
    "callbacks.averaging=null",
    "callbacks.early_stopping.monitor=val/accuracy",
    "callbacks.early_stopping.mode=max",
    "callbacks.early_stopping.stopping_threshold=0.99",
)


@dataclass(frozen=True)
class Sizes:
    """What is trained."""

    lengths: tuple[int, ...] = (50, 100, 200, 500, 1000, 2000)  # tokens of noise
    models: tuple[str, ...] = tuple(MODELS)
    ways: tuple[str, ...] = tuple(WAYS)
    seeds: tuple[int, ...] = (0, 1)  # the next one is tried where one has not learned it
    documents: int = 4800  # a tenth of them for validation
    epochs: int = 3


@dataclass(frozen=True)
class Row:
    """One run."""

    model: str
    way: str
    length: int
    seed: int
    test_accuracy: float
    tokens_seen: float  # until it had learned, or to the end of the last epoch
    training_cpu_s: float


def training(model: str, way: str, length: int, seed: int, sizes: Sizes) -> Training:
    """The run of one combination."""
    name = f"recall_{length}_{model}_{way}_s{seed}".replace(", ", "_").replace(" ", "_").replace("'", "")
    size = (f"data.length={length}", f"data.train={sizes.documents}", f"trainer.max_epochs={sizes.epochs}")
    shape = tuple(override.format(length=length) for override in MODELS[model])
    return Training(name, (*SETTINGS, *size, *shape, *WAYS[way], f"seed={seed}"))


def row(model: str, way: str, length: int, seed: int, result: RunResult) -> Row:
    """What the table needs of a run's record."""
    last = result.history[-1]
    return Row(
        model, way, length, seed, result.metrics["test/accuracy"], last["tokens_seen"], last["cpu_seconds"]
    )  # fmt: skip


def rows_of(sizes: Sizes, runs: Path, jobs: int) -> list[Row]:
    """Every model and way from the shortest length on, until it has not been learned with any seed."""
    rows = []
    able = [(model, way) for model in sizes.models for way in sizes.ways]
    for length in sizes.lengths:
        print(f"length {length}: {len(able)} combinations", flush=True)
        learned: set[tuple[str, str]] = set()
        for seed in sizes.seeds:
            tried = [each for each in able if each not in learned]
            results = train_all([training(*each, length, seed, sizes) for each in tried], runs, jobs)
            rows += [row(*each, length, seed, result) for each, result in zip(tried, results, strict=True)]
            learned |= {(r.model, r.way) for r in rows if r.length == length and r.test_accuracy >= LEARNED}
        able = [each for each in able if each in learned]
    return rows


def best(rows: Sequence[Row], model: str, way: str) -> dict[int, float]:
    """The best accuracy of the seeds tried, by length."""
    own = [r for r in rows if (r.model, r.way) == (model, way)]
    return {
        length: max(r.test_accuracy for r in own if r.length == length) for length in sorted({r.length for r in own})
    }


def reach(accuracies: dict[int, float]) -> str:
    """The longest length learned, and what became of the next."""
    learned = [length for length, accuracy in accuracies.items() if accuracy >= LEARNED]
    failed = [f"{length:,}: {100 * accuracy:.0f} %" for length, accuracy in accuracies.items() if accuracy < LEARNED]
    most = f"**{max(learned):,}**" if learned else "none"
    return f"{most} ({failed[0]})" if failed else most


def table(rows: Sequence[Row]) -> StudyTable:
    """A line per model, a column per way."""
    ways = list(dict.fromkeys(r.way for r in rows))
    models = list(dict.fromkeys(r.model for r in rows))
    return StudyTable(["model", *ways], [[model, *(reach(best(rows, model, way)) for way in ways)] for model in models])


def plot(rows: Sequence[Row]) -> Figure:
    """Documents read until it was learned against length, a panel per model; a cross where it was not."""
    models = list(dict.fromkeys(r.model for r in rows))
    ways = list(dict.fromkeys(r.way for r in rows))
    figure = Figure(figsize=(2.9 * len(models), 4), layout="constrained")
    panels = figure.subplots(1, len(models), sharey=True, squeeze=False)[0]
    for axes, model in zip(panels, models, strict=True):
        for i, way in enumerate(ways):
            aside = 1.05 ** (i - (len(ways) - 1) / 2)  # so that equal points do not cover each other
            read: dict[bool, dict[int, float]] = {True: {}, False: {}}
            for length, accuracy in best(rows, model, way).items():
                own = [r for r in rows if (r.model, r.way, r.length) == (model, way, length)]
                row = max(own, key=lambda r: r.test_accuracy)
                read[accuracy >= LEARNED][length] = row.tokens_seen / (length + 1)
            for learned, style in ((True, "osD^"[i % 4] + "-"), (False, "x")):
                lengths = [aside * length for length in read[learned]]
                label = way if learned and model == models[0] else None
                axes.plot(lengths, list(read[learned].values()), style, color=f"C{i}", label=label)
        axes.set(title=model, xlabel="tokens of noise", xscale="log", yscale="log", xlim=(40, 2500))
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("documents read until learned (x: never)")
    figure.legend(loc="outside lower center", ncols=len(ways))
    return figure


def study(arguments: argparse.Namespace) -> Report:
    """Train all of them and report."""
    sizes = Sizes()
    if arguments.quick:
        sizes = Sizes((20, 70, 90), ("gru",), ("truncated",), (0,), documents=600)
    rows = rows_of(sizes, arguments.runs, arguments.jobs)
    minutes = [r.training_cpu_s / 60 for r in rows]
    text = (
        f"Made by `python experiments/memory_probe/run.py --jobs {arguments.jobs}` with torch {torch.__version__}: "
        f"{len(rows)} runs, {sum(minutes):.0f} minutes of processor time in training, the longest {max(minutes):.1f}, "
        f"the median {statistics.median(minutes):.1f}."
    )
    about = {"jobs": arguments.jobs, "sizes": asdict(sizes)}
    return Report(table(rows), rows, text, about, plot(rows), "memory_probe.png", "documents read against length")


if __name__ == "__main__":
    run_study(
        __file__,
        study,
        description="Which way of training learns to remember the first token, and how long?",
        quick="one model, one way, few documents, up to 90 tokens",
    )
