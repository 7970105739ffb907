"""Study of the training speed of this tree against an earlier one: python experiments/against_earlier/run.py TREE

TREE is a checkout of commit 4d78f26, which has neither the engine `fused` nor an optimizer of rows. Both trees train
the same small models on 20 Newsgroups on one thread, and so does a bare loop around torch.nn.LSTM; all take turns.
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

import torch

from unrolled.errors import UserError
from unrolled.places import PROJECT
from unrolled.studies.study import Report, run_study
from unrolled.studies.table import StudyTable
from unrolled.train.environment import describe_environment

MODELS = ("rnn", "lstm", "lstmp", "gru")  # 128 units; lstmp projects them to 64
THIS, EARLIER, LOOP = "this tree", "4d78f26", "bare loop"
STEPS, WARM_UP, ROUNDS = 60, 5, 3  # the first steps are those that train.py does not count
TEXT = "text=words"  # the vocabulary that both trees have
SETTINGS = [
    "data=newsgroups data.max_tokens=400 embedding.embedding_dim=128 model.hidden_size=128 model.shortcut=false",
    f"tbptt.batch_size=32 threads=1 trainer.accelerator=cpu {TEXT} callbacks.progress_bar=null callbacks.examples=null",
    "++trainer.limit_val_batches=1 ++trainer.limit_test_batches=1 checkpoint.every_minutes=null",
]
OWN = {THIS: "pooling=max recipe=fixed baseline=null", EARLIER: "readout=max"}  # what each tree calls the same
PEER = "PyTorch loop, chunks, by length"  # of experiments/peers


@dataclass(frozen=True)
class Row:
    """One model, or the bare loop, in one tree."""

    model: str
    code: str
    tokens_per_second: list[float]  # of each round


def settings(model: str, code: str, steps: int) -> str:
    """What train.py is told."""
    return " ".join([f"model={model}", f"trainer.max_steps={steps}", *SETTINGS, OWN[code]])


def trained(model: str, code: str, tree: Path, steps: int) -> float:
    """Tokens per second of a training in ``tree``, as its results.json has them: the median of every ten steps."""
    with tempfile.TemporaryDirectory() as folder:
        words = settings(model, code, steps).split()
        _run([str(tree / "train.py"), *words, f"hydra.run.dir={folder}/run"], tree)
        return float(json.loads(Path(folder, "run", "results.json").read_text())["speed"]["tokens_per_second"])


def looped(steps: int) -> float:
    """Tokens per second of torch.nn.LSTM in chunks, documents of like length together, with Adam and nothing else."""
    script = str(PROJECT / "experiments" / "peers" / "run.py")
    tokens, seconds = json.loads(_run([script, "--measure", PEER, str(steps - WARM_UP), "1", TEXT], PROJECT))
    return float(tokens / seconds)


def _run(command: Sequence[str], tree: Path) -> str:
    """The last line that a script of ``tree`` prints."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(tree / "src")}
    done = subprocess.run([sys.executable, *command], env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"{command[0]} ended with status {done.returncode}: {done.stderr.strip()}")
    return done.stdout.strip().rpartition("\n")[2]


def table(rows: Sequence[Row]) -> StudyTable:
    """Medians over the rounds, and the median of the ratios within a round."""
    found = {(row.model, row.code): row.tokens_per_second for row in rows}
    lines = []
    for model in dict.fromkeys(row.model for row in rows if row.code == THIS):
        line = [f"`model={model}`"]
        for code in (THIS, EARLIER, LOOP):
            rates = found.get((model, code))
            line.append("" if rates is None else f"{statistics.median(rates) / 1000:.1f}")
        for code in (EARLIER, LOOP):
            rates = found.get((model, code), [])
            pairs = [ours / theirs for ours, theirs in zip(found[model, THIS], rates, strict=False)]
            line.append(f"{statistics.median(pairs):.2f} ({min(pairs):.2f} to {max(pairs):.2f})" if pairs else "")
        lines.append(line)
    speeds = [f"{code}, 1,000 tokens/s" for code in (THIS, EARLIER, LOOP)]
    return StudyTable(["model", *speeds, f"times {EARLIER}", f"times the {LOOP}"], lines)


def study(arguments: argparse.Namespace) -> Report:
    """Every model in both trees and the bare loop in turn, round by round."""
    (earlier,) = arguments.files or [None]
    if earlier is None or not (earlier / "train.py").is_file():
        raise UserError(
            f"TREE={earlier}: a checkout of {EARLIER} is needed; `git worktree add --detach TREE {EARLIER}` makes one"
        )
    steps, rounds, models = (10, 1, ("lstm",)) if arguments.quick else (STEPS, ROUNDS, MODELS)
    trees = {THIS: PROJECT, EARLIER: earlier.resolve()}
    rows = [Row(model, code, []) for model in models for code in trees] + [Row("lstm", LOOP, [])]
    for number in range(rounds):
        for row in rows:
            rate = looped(steps) if row.code == LOOP else trained(row.model, row.code, trees[row.code], steps)
            row.tokens_per_second.append(rate)
            print(f"round {number + 1}, {row.model}, {row.code}: {rate / 1000:.1f}k tokens/s", flush=True)
    text = (
        f"{steps - WARM_UP} optimizer steps after {WARM_UP} that do not count, {rounds} rounds, 1 thread; "
        f"medians, and the range of the ratios within a round; torch {torch.__version__}."
    )
    commands = {code: f"python train.py {settings('MODEL', code, steps)}" for code in trees}
    about = {"steps": steps, "rounds": rounds, "commands": commands, "environment": describe_environment()}
    return Report(table(rows), rows, text, about)


if __name__ == "__main__":
    run_study(
        __file__,
        study,
        description="Training speed of this tree against that of an earlier one, and against a bare loop.",
        quick="one round of five steps of one model",
        trains=False,
        files=f"TREE: a checkout of commit {EARLIER}",
    )
