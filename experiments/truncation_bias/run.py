"""Study of the bias of truncated gradients. Run: python experiments/truncation_bias/run.py

Documents of 20 Newsgroups are read in chunks of 5 to 200 tokens, with initial weights and after some training steps;
the truncated gradients of embedding and encoder are compared with the exact ones over the same batches.
"""

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from matplotlib.figure import Figure
from torch.nn import functional as F

from unrolled.data.config import TextConfig, data_config
from unrolled.data.prepare import PreparedData, prepare
from unrolled.nn import pooling as poolings
from unrolled.nn.embedding import Embedding
from unrolled.nn.models import build_encoder
from unrolled.nn.network import Network
from unrolled.studies.study import Report, run_study
from unrolled.studies.table import StudyTable
from unrolled.tbptt.bias import gradient_bias
from unrolled.tbptt.config import TBPTTConfig
from unrolled.tbptt.schedule import DocumentsSchedule
from unrolled.train.classifier import Classifier

MODELS = ("rnn", "gru", "lstm")


@dataclass(frozen=True)
class Sizes:
    """What is measured, and on how much."""

    chunk_lens: tuple[int, ...] = (5, 10, 20, 50, 100, 200)  # tokens
    poolings: tuple[str, ...] = ("last", "concat")
    max_tokens: int = 256  # of a document, from its beginning
    hidden_size: int = 64
    batches: int = 4  # whose mean gradients are compared
    batch_size: int = 32
    steps: int = 100  # of training, exact, before the second measurement
    limit: int | None = None  # documents of the data set


@dataclass(frozen=True)
class Row:
    """One comparison."""

    model: str
    pooling: str
    trained_steps: int
    chunk_len: int
    relative_error: float
    cosine: float


def measure(model: Classifier, prepared: PreparedData, sizes: Sizes, chunk_len: int) -> tuple[float, float]:
    """Relative error and cosine of the truncated gradient."""
    schedule = DocumentsSchedule(prepared.valid, sizes.batch_size, chunk_len, shuffle=True)
    batches = schedule.batches(0)
    bias = gradient_bias(model.network, [batches[i] for i in range(min(sizes.batches, len(batches)))])
    return bias.relative_error, bias.cosine


def train(model: Classifier, prepared: PreparedData, sizes: Sizes) -> None:
    """Adam with the exact gradient, clipped to norm 1."""
    schedule = DocumentsSchedule(prepared.train, sizes.batch_size, 100)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    batches = schedule.batches(0)
    for i in range(sizes.steps):
        batch = batches[i % len(batches)]
        optimizer.zero_grad()
        F.cross_entropy(model(batch), batch.labels).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()


def rows_of(prepared: PreparedData, sizes: Sizes) -> list[Row]:
    """All models and poolings, before and after training."""
    rows = []
    for name in MODELS:
        for pooling in sizes.poolings:
            torch.manual_seed(0)
            encoder = build_encoder(sizes.hidden_size, sizes.hidden_size, name)
            embedding = Embedding(len(prepared.vocabulary), sizes.hidden_size)
            kind: type[poolings.Pooling] = getattr(poolings, pooling.title())
            network = Network(embedding, encoder, kind(encoder.output_size), len(prepared.labels))
            model = Classifier(network, prepared.labels, TBPTTConfig(gradient="exact", memory="retain"))
            for trained in (0, sizes.steps):
                if trained:
                    train(model, prepared, sizes)
                for chunk_len in sizes.chunk_lens:
                    rows.append(Row(name, pooling, trained, chunk_len, *measure(model, prepared, sizes, chunk_len)))
            print(f"{name}, pooling {pooling}: done", flush=True)
    return rows


def table(rows: Sequence[Row]) -> StudyTable:
    """A line per model, pooling and moment: relative error and cosine for each chunk length."""
    lengths = sorted({row.chunk_len for row in rows})
    found = {(r.model, r.pooling, r.trained_steps, r.chunk_len): r for r in rows}
    lines = []
    for model, pooling, trained in dict.fromkeys((r.model, r.pooling, r.trained_steps) for r in rows):
        own = [found[model, pooling, trained, length] for length in lengths]
        values = [f"{row.relative_error:.3f} ({row.cosine:.3f})" for row in own]
        lines.append([model, pooling, f"after {trained} steps" if trained else "as drawn", *values])
    return StudyTable(["model", "pooling", "weights", *(f"chunk_len={length}" for length in lengths)], lines, names=3)


def plot(rows: Sequence[Row]) -> Figure:
    """Relative error against chunk length, a panel per pooling."""
    poolings = list(dict.fromkeys(row.pooling for row in rows))
    figure = Figure(figsize=(4 * len(poolings), 4), layout="constrained")
    panels = figure.subplots(1, len(poolings), sharey=True, squeeze=False)[0]
    for axes, pooling in zip(panels, poolings, strict=True):
        for i, model in enumerate(dict.fromkeys(row.model for row in rows)):
            for trained in sorted({row.trained_steps for row in rows}):
                own = [r for r in rows if (r.model, r.pooling, r.trained_steps) == (model, pooling, trained)]
                axes.plot(
                    [row.chunk_len for row in own],
                    [row.relative_error for row in own],
                    marker="o",
                    color=f"C{i}",
                    linestyle="-" if trained else ":",
                    label=f"{model}, {'trained' if trained else 'as drawn'}",
                )
        axes.set(title=f"pooling {pooling}", xlabel="chunk_len (tokens)", xscale="log", yscale="log")
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("relative error of the gradient")
    panels[0].legend(fontsize="small")
    return figure


def report(rows: Sequence[Row], sizes: Sizes) -> Report:
    """The table, the plot and how they were made."""
    text = f"Measured with torch {torch.__version__}, {sizes}."
    return Report(table(rows), rows, text, {"sizes": asdict(sizes)}, plot(rows), "bias.png", "bias")


def study(arguments: argparse.Namespace) -> Report:
    """Measure and report."""
    sizes = Sizes()
    if arguments.quick:
        sizes = Sizes((2, 8), ("last",), max_tokens=24, hidden_size=8, batches=2, batch_size=8, steps=2, limit=400)
    torch.set_num_threads(1)
    data = data_config(
        _target_="unrolled.data.sources.orange.OrangeTables",
        corpus="newsgroups",
        max_tokens=sizes.max_tokens,
        limit=sizes.limit,
    )
    return report(rows_of(prepare(data, TextConfig(kind="words"), seed=0), sizes), sizes)


if __name__ == "__main__":
    run_study(
        __file__,
        study,
        description="Truncated against exact gradient over chunk lengths.",
        quick="few documents, small sizes, a few steps",
        trains=False,
    )
