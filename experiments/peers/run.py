"""Study of the speed of other training loops with the same model. Run: python experiments/peers/run.py

20 Newsgroups, at most 400 tokens of a document, 32 documents a batch; embedding of 128, LSTM of 128, the largest output
over time, linear head, Adam. Every measurement has a process of its own and reads the same documents; all take turns.
Keras needs an environment of its own (`make setup-peers`) and is left out, with a word, where there is none.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra import compose, initialize_config_dir

from unrolled.config import checked
from unrolled.data.prepare import PreparedData, prepare
from unrolled.errors import UserError
from unrolled.studies.study import Report, run_study
from unrolled.studies.table import StudyTable
from unrolled.tbptt.batch import documents_batch
from unrolled.train.environment import describe_environment
from unrolled.train.recipe import Statistics, decide

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
KERAS = ROOT / ".venv-peers" / "bin" / "python"
BATCH, WIDTH, LONGEST = 32, 128, 400
BATCHES, WARM_UP, ROUNDS, THREADS = 40, 3, 3, 1
POOL = 50  # batches whose documents are put in order of length together

PEERS = {  # name: whether documents of like length share a batch
    "unrolled, LSTM handwritten": True,
    "unrolled, LSTM official": True,
    "PyTorch loop, chunks, by length": True,
    "PyTorch loop, packed, by length": True,
    "PyTorch loop, packed, as they come": False,
    "Keras, by length": True,
    "Keras, padded to 400": False,
}


@dataclass(frozen=True)
class Row:
    """One peer."""

    peer: str
    tokens: int  # in the batches that count
    seconds: list[float]  # of each round

    @property
    def tokens_per_second(self) -> float:
        """The median of the rounds."""
        return self.tokens / statistics.median(self.seconds)


def data(*changes: str) -> tuple[Any, Any, PreparedData]:
    """The config of the equal model with ``changes``, as composed and as checked, and its data."""
    overrides = [
        "name=peers",
        "recipe=fixed",
        "threads=1",
        "model=lstm",
        "model.shortcut=false",
        f"model.hidden_size={WIDTH}",
    ]
    overrides += [f"embedding.embedding_dim={WIDTH}", "embedding.dropout=0", "embedding.word_dropout=0"]
    overrides += ["pooling=max", "pooling.dropout=0", f"data.max_tokens={LONGEST}", f"tbptt.batch_size={BATCH}"]
    overrides += ["callbacks.progress_bar=null", "trainer.accelerator=cpu"]
    overrides += ["optimizer.lr=0.001", "optimizer.weight_decay=0"]  # AdamW without decay is Adam
    overrides += ["label_smoothing=0", "scheduler=constant"]
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = compose("config", [*overrides, *changes])
    valid = checked(config)
    prepared = prepare(valid.data, valid.text, valid.seed)
    decide(config, Statistics.of(prepared))
    return config, checked(config), prepared


def batches(lengths: np.ndarray[Any, Any], by_length: bool, count: int) -> list[np.ndarray[Any, Any]]:
    """Documents of each batch: drawn at random, and of ``POOL`` batches put in order of length together if asked."""
    rng = np.random.default_rng(0)
    chosen = rng.permutation(np.flatnonzero(lengths > 0))  # packing refuses empty documents
    parts = []
    for begin in range(0, len(chosen), POOL * BATCH):
        pool = chosen[begin : begin + POOL * BATCH]
        pool = pool[np.argsort(lengths[pool], kind="stable")] if by_length else pool
        whole = [pool[k : k + BATCH] for k in range(0, len(pool) - BATCH + 1, BATCH)]
        parts += [whole[k] for k in rng.permutation(len(whole))]
    return parts[:count]


def measure(peer: str, count: int, threads: int, *changes: str) -> tuple[int, float]:
    """Tokens and seconds of ``count`` batches after the first ones."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    config, valid, prepared = data(*changes)
    train = prepared.train
    chosen = batches(train.lengths, PEERS[peer], WARM_UP + count)
    tokens = int(sum(train.lengths[documents].sum() for documents in chosen[WARM_UP:]))
    if peer.startswith("unrolled"):
        return tokens, _ours(config, valid, prepared, chosen, peer.split()[-1], threads)
    if peer.startswith("Keras"):
        return tokens, _keras(prepared, chosen, LONGEST if "padded" in peer else 0, threads)
    import loops

    given = [
        loops.Documents(
            [torch.from_numpy(train.document(d).astype(np.int64)) for d in documents],
            torch.from_numpy(train.labels[documents]),
        )
        for documents in chosen
    ]
    model = loops.Packed if "packed" in peer else loops.Chunked
    sizes = len(prepared.vocabulary), len(prepared.labels), WIDTH
    return tokens, loops.seconds(model(*sizes), given, WARM_UP)


def _ours(
    config: Any, valid: Any, prepared: PreparedData, chosen: list[Any], implementation: str, threads: int
) -> float:
    """Training as train.py does it: Lightning, all callbacks, the moving average, TensorBoard; no validation."""
    import logging
    import time
    import warnings

    import pytorch_lightning as pl

    from unrolled.benchmarks.overhead import train_on
    from unrolled.train.build import build_classifier

    warnings.filterwarnings("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    config.model.implementation = implementation
    config.threads = threads
    given = [documents_batch(prepared.train, documents, valid.tbptt.chunk_len) for documents in chosen]
    ended: list[float] = []

    class Clock(pl.Callback):
        def on_train_batch_end(self, *_: Any) -> None:
            ended.append(time.perf_counter())

    train_on(given, config, build_classifier(valid, prepared), Clock())
    return ended[-1] - ended[WARM_UP - 1]


def _keras(prepared: PreparedData, chosen: list[Any], padded_to: int, threads: int) -> float:
    train = prepared.train
    documents = np.concatenate(chosen)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "batches.npz"
        np.savez(
            path,
            tokens=np.concatenate([train.document(d) for d in documents]),
            lengths=train.lengths[documents],
            labels=train.labels[documents].astype(np.int32),
            batch_size=BATCH,
            vocabulary=len(prepared.vocabulary),
            classes=len(prepared.labels),
        )
        numbers = [str(n) for n in (threads, WIDTH, padded_to, WARM_UP)]
        command = [str(KERAS), str(HERE / "keras_loop.py"), str(path), *numbers]
        environment = {**os.environ, "PYTHONPATH": "", "OMP_NUM_THREADS": str(threads)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return float(done.stdout.split("seconds")[-1])


def table(rows: Sequence[Row]) -> StudyTable:
    """Speed of each, and how many times as fast ours is."""
    ours = rows[0].tokens_per_second
    lines = []
    for row in rows:
        each = [row.tokens / second / 1000 for second in row.seconds]
        speed = f"{row.tokens_per_second / 1000:.1f} ({min(each):.1f} to {max(each):.1f})"
        lines.append([row.peer, speed, f"{ours / row.tokens_per_second:.2f}"])
    return StudyTable(["training loop", "1,000 tokens/s, median and range", "unrolled is so many times as fast"], lines)


def measured_apart(peer: str, count: int, threads: int) -> tuple[int, float]:
    """`measure` in a process of its own."""
    command = [sys.executable, __file__, "--measure", peer, str(count), str(threads)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"{peer} cannot be measured: {done.stderr}")
    tokens, seconds = json.loads(done.stdout.splitlines()[-1])
    return tokens, seconds


def study(arguments: argparse.Namespace) -> Report:
    """Measure all peers in turn, round by round, and report."""
    count, rounds = (5, 1) if arguments.quick else (BATCHES, ROUNDS)
    peers = [peer for peer in PEERS if KERAS.exists() or not peer.startswith("Keras")]
    if len(peers) < len(PEERS):
        print("Keras is left out: `make setup-peers` makes its environment.", file=sys.stderr)
    found: dict[str, list[tuple[int, float]]] = {peer: [] for peer in peers}
    for number in range(rounds):
        for peer in peers:
            found[peer].append(measured_apart(peer, count, THREADS))
            tokens, seconds = found[peer][-1]
            print(f"round {number + 1}, {peer}: {tokens / seconds / 1000:.1f}k tokens/s", flush=True)
    rows = [Row(peer, each[0][0], [seconds for _, seconds in each]) for peer, each in found.items()]
    text = (
        f"{count} batches of {BATCH} documents in each measurement, after {WARM_UP} that do not count; "
        f"{rounds} rounds; {THREADS} thread; torch {torch.__version__}."
    )
    about = {"batches": count, "rounds": rounds, "threads": THREADS, "environment": describe_environment()}
    return Report(table(rows), rows, text, about)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:  # one measurement in this process: `measured_apart`
        sys.stdout.write(json.dumps(measure(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), *sys.argv[5:])) + "\n")
    else:
        run_study(
            __file__,
            study,
            description="Speed of training against what people write without this program.",
            quick="one round of five batches",
            trains=False,
        )
