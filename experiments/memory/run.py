"""Study of the peak memory of a training step against document length. Run: python experiments/memory/run.py

Every measurement has a process of its own, which trains on one document with Lightning's Trainer and reports its peak
resident memory. The default LSTMP, embedding and pooling are used, with a vocabulary of 60,000.
"""

import argparse
import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial

import numpy as np
import pytorch_lightning as pl
import torch
from matplotlib.figure import Figure

from unrolled.data.corpus import TokenCorpus
from unrolled.nn.embedding import Embedding
from unrolled.nn.models import build_encoder
from unrolled.nn.network import Network
from unrolled.nn.pooling import Concat
from unrolled.studies.study import Report, run_study
from unrolled.studies.table import StudyTable
from unrolled.tbptt.config import TBPTTConfig
from unrolled.tbptt.loader import BatchLoader
from unrolled.tbptt.schedule import DocumentsSchedule, Schedule, StreamSchedule
from unrolled.train.classifier import Classifier
from unrolled.train.memory import peak_memory_mb, reset_peak_memory

LENGTHS = (3_000, 10_000, 30_000, 100_000, 300_000)  # tokens
RETAINED = 30_000  # tokens; longer documents would need more memory with retain than most machines have
VOCABULARY = 60_000
CHUNK = 100  # time steps; 64 for stream


@dataclass(frozen=True)
class Mode:
    """A way to train, or to evaluate."""

    name: str
    tbptt: TBPTTConfig
    training: bool = True


MODES = (
    Mode("exact, retain", TBPTTConfig(gradient="exact", memory="retain")),
    Mode("exact, recompute", TBPTTConfig(gradient="exact", memory="recompute")),
    Mode("truncated, retain", TBPTTConfig(memory="retain")),
    Mode("truncated, recompute", TBPTTConfig(memory="recompute")),
    Mode("truncated, auto", TBPTTConfig()),
    Mode("stream", TBPTTConfig("stream", chunk_len=64, loss="every")),
    Mode("evaluation", TBPTTConfig(), training=False),
)
BY_NAME = {mode.name: mode for mode in MODES}
FLAT = ("exact, recompute", "truncated, recompute", "stream", "evaluation")  # memory must not grow with the document
GROWING = ("exact, retain", "truncated, retain")


@dataclass(frozen=True)
class Measured:
    """One process."""

    mode: str
    length: int  # tokens of the document
    peak_mb: float  # MiB resident, the interpreter and its libraries included
    token_ids_mb: float  # MiB of the document's token ids, in the corpus and in the step
    us_per_token: float


def classifier(mode: Mode) -> Classifier:
    """The default model: LSTMP of 128 and 64, embedding of 128, last, max and mean, all dropouts."""
    torch.manual_seed(0)
    return Classifier(
        Network(
            Embedding(VOCABULARY, 128, dropout=0.3, word_dropout=0.1),
            build_encoder(128, 128, "lstm", proj_size=64),
            Concat(64),
            3,
            dropout=0.5,
        ),
        class_names=["a", "b", "c"],
        tbptt=mode.tbptt,
        optimizer=partial(torch.optim.Adam, lr=0.002, fused=True),
    )


def corpus(documents: int, length: int) -> TokenCorpus:
    """Random tokens."""
    tokens = np.random.default_rng(0).integers(2, VOCABULARY, documents * length, dtype=np.uint16)
    numbers = np.arange(documents, dtype=np.int64)
    table = np.arange(VOCABULARY, dtype=np.int32)
    return TokenCorpus(tokens, table, numbers * length, np.full(documents, length), numbers % 3, numbers)


def trainer(directory: str) -> pl.Trainer:
    """One epoch on the CPU, nothing logged."""
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    return pl.Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        gradient_clip_val=1.0,
        default_root_dir=directory,
    )


def measure(mode: Mode, length: int) -> Measured:
    """Train on, or evaluate, one document of ``length`` tokens, in this process."""
    torch.set_num_threads(1)
    data = corpus(1, length)
    order: Schedule = DocumentsSchedule(data, 1, CHUNK)
    if mode.tbptt.schedule == "stream":
        order = StreamSchedule(data, 1, 64)
    model = classifier(mode)
    with tempfile.TemporaryDirectory() as directory:
        runner = trainer(directory)
        reset_peak_memory(torch.device("cpu"))
        began = time.perf_counter()
        if mode.training:
            runner.fit(model, BatchLoader(order))
        else:
            runner.validate(model, BatchLoader(order), verbose=False)
        seconds = time.perf_counter() - began
    peak = peak_memory_mb(torch.device("cpu"))
    ids = length * (data.tokens.itemsize + 8) / 2**20
    return Measured(mode.name, length, peak, ids, 1e6 * seconds / length)


def measured_apart(mode: Mode, length: int) -> Measured:
    """`measure` in a fresh process."""
    command = [sys.executable, __file__, "--measure", mode.name, str(length)]
    # glibc keeps freed blocks of the embedding's size or gives them back, as it happens; here it always gives them back
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": str(2**20)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise RuntimeError(f"{mode.name} at {length:,} tokens failed:\n{done.stderr}")
    return Measured(**json.loads(done.stdout.splitlines()[-1]))


def time_ratio(documents: int, length: int, rounds: int) -> dict[str, float]:
    """Seconds of an exact step with recompute over seconds with retain, alternating, on like batches: the median."""
    torch.set_num_threads(1)
    data = corpus(documents, length)
    (batch,) = (DocumentsSchedule(data, documents, CHUNK).batches(0)[i] for i in range(1))
    models = [classifier(BY_NAME[name]) for name in ("exact, retain", "exact, recompute")]

    def seconds(model: Classifier) -> float:
        began = time.perf_counter()
        torch.nn.functional.cross_entropy(model(batch), batch.labels).backward()
        model.zero_grad()
        return time.perf_counter() - began

    pairs = [[seconds(model) for model in models] for _ in range(rounds + 1)][1:]  # the first warms up
    return {
        "documents": documents,
        "length": length,
        "ratio": statistics.median(recompute / retain for retain, recompute in pairs),
        "us_per_token_retain": 1e6 * statistics.median(retain for retain, _ in pairs) / documents / length,
        "us_per_token_recompute": 1e6 * statistics.median(recompute for _, recompute in pairs) / documents / length,
    }


def growth(rows: Sequence[Measured], mode: str) -> float:
    """Peak at the greatest length over peak at the least, both above the token ids, minus 1."""
    own = sorted((row for row in rows if row.mode == mode), key=lambda row: row.length)
    first, last = own[0], own[-1]
    return (last.peak_mb - last.token_ids_mb) / (first.peak_mb - first.token_ids_mb) - 1


def table(rows: Sequence[Measured]) -> StudyTable:
    """A line per mode, a column per length, and the growth."""
    lengths = sorted({row.length for row in rows})
    peaks = {(row.mode, row.length): row.peak_mb for row in rows}
    header = ["MiB, peak resident", *(f"{length:,} tokens" for length in lengths), "growth above token ids"]
    lines = []
    for mode in dict.fromkeys(row.mode for row in rows):
        values = [f"{peaks[mode, length]:,.0f}" if (mode, length) in peaks else "" for length in lengths]
        lines.append([mode, *values, f"{100 * growth(rows, mode):+.1f} %"])
    return StudyTable(header, lines)


def plot(rows: Sequence[Measured]) -> Figure:
    """Peak memory against document length."""
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    for mode in dict.fromkeys(row.mode for row in rows):
        own = sorted((row.length, row.peak_mb) for row in rows if row.mode == mode)
        axes.plot(*zip(*own, strict=True), marker="o", label=mode, linestyle="-" if mode in FLAT else "--")
    axes.set(xscale="log", xlabel="tokens of the document", ylabel="peak resident memory (MiB)", ylim=(0, None))
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def report(rows: Sequence[Measured], ratio: dict[str, float]) -> Report:
    """The table, the plot and the time; at fault is what grows by more than 5 % and must not."""
    text = (
        f"An exact step with recompute takes {ratio['ratio']:.2f} times the time of one with retain "
        f"({ratio['us_per_token_recompute']:.0f} and {ratio['us_per_token_retain']:.0f} microseconds per token; "
        f"{ratio['documents']:.0f} documents of {ratio['length']:,.0f} tokens, one thread, torch {torch.__version__})."
    )
    grown = {mode: growth(rows, mode) for mode in FLAT if any(row.mode == mode for row in rows)}
    faults = [f"{mode}: memory grows by {100 * share:.1f} %" for mode, share in grown.items() if share > 0.05]
    return Report(table(rows), rows, text, {"time": ratio}, plot(rows), "memory.png", "memory", faults=faults)


def study(arguments: argparse.Namespace) -> Report:
    """Measure, each time in a process of its own, and report."""
    modes, lengths = (MODES[1:2], (300, 3_000)) if arguments.quick else (MODES, LENGTHS)
    rows = []
    for mode in modes:
        for length in lengths:
            if length <= RETAINED or mode.name not in GROWING:
                rows.append(measured_apart(mode, length))
                print(f"{mode.name}, {length:,} tokens: {rows[-1].peak_mb:,.0f} MiB", flush=True)
    ratio = time_ratio(4, 300, 3) if arguments.quick else time_ratio(32, 1_000, 9)
    print(f"time of exact with recompute over retain: {ratio['ratio']:.2f}")
    return report(rows, ratio)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:  # one measurement in this process: `measured_apart`
        sys.stdout.write(json.dumps(asdict(measure(BY_NAME[sys.argv[2]], int(sys.argv[3])))) + "\n")
    else:
        run_study(
            __file__,
            study,
            description="Peak memory of a training step against document length.",
            quick="one mode, 300 and 3,000 tokens",
            trains=False,
        )
