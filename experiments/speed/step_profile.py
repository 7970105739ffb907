"""Where does a training step's time go, part by part? Run: python experiments/speed/step_profile.py --output FILE

The run is a real one: the composed config, the data, Lightning with every callback and the logger, but no validation.
A ledger gives every moment of the training loop to one part. Forward, that is the part whose method runs; in backward,
the part whose method made the node of the autograd graph that runs, which a hook on the node tells; otherwise it is
Lightning's hook or the callback. No profiler records operators, because that would make small ones much slower. The
same batches are timed without the ledger as well.

On one thread the clock is the thread's processor time, so that other programs on the machine count less.
"""

import argparse
import json
import logging
import statistics
import sys
import time
import warnings
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.profilers import Profiler
from torch import Tensor

from unrolled.benchmarks.overhead import train_on
from unrolled.cli.conf import register_resolver
from unrolled.config import checked
from unrolled.data.prepare import PreparedData, prepare
from unrolled.files import write_atomically
from unrolled.studies.table import StudyTable
from unrolled.tbptt.batch import Batch
from unrolled.tbptt.datamodule import DocumentsDataModule
from unrolled.train.build import build_classifier
from unrolled.train.environment import describe_environment
from unrolled.train.recipe import Statistics, decide

ROOT = Path(__file__).resolve().parents[2]
WARM_UP = 3  # batches that do not count

METHODS = {  # of the classifier, by dotted name, and the part that they are; recurrences are found by themselves
    "network.embedding.drop_words": "word dropout",
    "network.embedding.lookup": "embedding lookup",
    "network.embedding.drop": "embedding dropout",
    "network.pooling.update": "pooling",
    "network.pooling.value": "pooling",
    "network.dropout.forward": "head and loss",
    "network.head.forward": "head and loss",
    "_each_loss": "head and loss",
    "train_metrics.update": "metrics and logging",
    "log": "metrics and logging",
}
INPUT, RECURRENCE, SHORTCUT = "input product", "recurrence", "shortcut"
BACKWARD = "backward, the rest"  # what no method made: splitting into chunks and joining, adding up gradients
HOOKS = {  # words in the names of Lightning's actions; the first that is found counts
    "AveragedWeights": "moving average",
    "[Callback]": "other callbacks",
    "configure_gradient_clipping": "gradient clipping",
    "optimizer_zero_grad": "optimizer",
    "optimizer_step": "optimizer",
    "training_step": "reading loop",
    "backward": BACKWARD,
}
LIGHTNING, DATA = "the rest of Lightning", "data"
ORDER = (DATA, "word dropout", "embedding lookup", "embedding dropout", INPUT, RECURRENCE, SHORTCUT, "pooling")
ORDER += ("head and loss", "reading loop", BACKWARD, "gradient clipping", "optimizer", "moving average")
ORDER += ("metrics and logging", "other callbacks", LIGHTNING)


class Ledger:
    """Whose the present moment is, and how many seconds each part has had."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.spent: Counter[tuple[str, str]] = Counter()  # of (part, "forward" or "backward")
        self.owners: list[tuple[str, str]] = [(LIGHTNING, "forward")]
        self.since = clock()

    def note(self) -> None:
        """Give the time since the last note to the present owner."""
        now = self.clock()
        self.spent[self.owners[-1]] += now - self.since
        self.since = now

    def enter(self, part: str, way: str = "forward") -> None:
        self.note()
        self.owners.append((part, way))

    def leave(self) -> None:
        self.note()
        self.owners.pop()

    def change(self, part: str, way: str) -> None:
        """The same range goes on, with another owner."""
        self.note()
        self.owners[-1] = (part, way)

    def begin(self) -> None:
        """Forget what was before."""
        self.spent.clear()
        self.since = self.clock()


class Actions(Profiler):
    """Tells the ledger which of Lightning's actions runs."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__()
        self.ledger = ledger

    def part(self, action: str) -> str | None:
        return next((part for word, part in HOOKS.items() if word in action), None) if "[" in action else None

    def start(self, action_name: str) -> None:
        if (part := self.part(action_name)) is not None:
            self.ledger.enter(part, "backward" if part == BACKWARD else "forward")

    def stop(self, action_name: str) -> None:
        if self.part(action_name) is not None:
            self.ledger.leave()


class Parts:
    """Tells the ledger which of a model's methods runs, and in backward which of them made the node that runs."""

    def __init__(self, model: pl.LightningModule, ledger: Ledger) -> None:
        self.ledger = ledger
        self.made: list[tuple[int, int, str]] = []  # sequence numbers of nodes, first and last + 1, and their part
        for name, part in METHODS.items():
            self.mark(model, name, part)
        for layer in model.network.encoder.layers:
            self.mark(layer, "drop", "embedding dropout")
            self.mark(layer, "beside", SHORTCUT)
        for module in model.network.encoder.modules():
            if hasattr(module, "read"):
                self.mark(module, "read", RECURRENCE)
            for cell in getattr(module, "_cells", ()):
                self.mark(cell, "from_input", INPUT)

    def mark(self, owner: Any, name: str, part: str) -> None:
        """Replace a method by one that the ledger hears of."""
        *path, method = name.split(".")
        for step in path:
            owner = getattr(owner, step, None)
        original = getattr(owner, method, None)
        if original is None:
            print(f"the classifier has no {name}: that time is in another part", file=sys.stderr)
            return

        def heard(*args: Any, **kwargs: Any) -> Any:
            first = torch.autograd._get_sequence_nr()
            self.ledger.enter(part)
            try:
                return original(*args, **kwargs)
            finally:
                self.ledger.leave()
                self.made.append((first, torch.autograd._get_sequence_nr(), part))

        object.__setattr__(owner, method, heard)

    def hook(self, loss: Tensor) -> None:
        """Hooks on the graph's nodes that say whose they are. The time that this takes is nobody's."""
        self.ledger.note()
        changes = list(_innermost(self.made))
        edges = [number for number, _ in changes]
        seen, left, nodes = set(), [loss.grad_fn], []
        while left:
            node = left.pop()
            if node is None or node in seen:
                continue
            seen.add(node)
            number = node._sequence_nr()
            if number < 2**62:  # others add up gradients, for the part before them
                at = bisect_right(edges, number) - 1
                nodes.append((number, (changes[at][1] if at >= 0 else None) or BACKWARD, node))
            left.extend(following for following, _ in node.next_functions)
        before = None
        for _, part, node in sorted(nodes, key=lambda n: -n[0]):  # the order in which they will run
            if part != before or part != RECURRENCE:  # a hook on each of its nodes would cost too much
                node.register_prehook(partial(self._runs, part))
            before = part
        self.made.clear()
        self.ledger.since = self.ledger.clock()

    def _runs(self, part: str, gradients: Any) -> None:
        self.ledger.change(part, "backward")


def _innermost(intervals: Sequence[tuple[int, int, str]]) -> Iterator[tuple[int, str | None]]:
    """Where the innermost of nested intervals changes, and to what."""
    around: list[tuple[int, str]] = []
    for first, end, part in sorted(intervals, key=lambda i: (i[0], -i[1])):
        if first == end:
            continue
        while around and around[-1][0] <= first:
            done, _ = around.pop()
            yield done, around[-1][1] if around else None
        around.append((end, part))
        yield first, part
    while around:
        done, _ = around.pop()
        yield done, around[-1][1] if around else None


class Steps(Callback):
    """Notes when every batch ended, and lets the ledger begin after the first ones."""

    def __init__(self, clock: Callable[[], float], parts: Parts | None = None) -> None:
        self.clock, self.parts = clock, parts
        self.ended: list[float] = []

    def on_before_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: Tensor) -> None:
        if self.parts is not None:
            self.parts.hook(loss)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        if self.parts is not None:
            self.parts.ledger.note()
            if len(self.ended) == WARM_UP - 1:
                self.parts.ledger.begin()
        self.ended.append(self.clock())


def sample(data: pl.LightningDataModule, count: int, clock: Callable[[], float]) -> tuple[list[Batch], list[float]]:
    """``count`` batches spread over the first epoch, so of all lengths, and the seconds that making each one took."""
    loader: Any = data.train_dataloader()
    every = max(len(loader) // count, 1)
    batches, seconds = [], []
    iterator = iter(loader)
    for i in range(len(loader)):
        began = clock()
        batch = next(iterator)
        if i % every == 0 and len(batches) < count:
            seconds.append(clock() - began)
            batches.append(batch)
    return batches, seconds


def run(
    config: DictConfig,
    prepared: PreparedData,
    batches: Sequence[Batch],
    clock: Callable[[], float],
    ledger: Ledger | None = None,
) -> Steps:
    """Train on ``batches`` with everything that `make train` has, but validation and checkpoints."""
    pl.seed_everything(0, verbose=False)
    model = build_classifier(checked(config), prepared)
    steps = Steps(clock, ledger and Parts(model, ledger))
    profiler: dict[str, Any] = {} if ledger is None else {"profiler": Actions(ledger)}
    train_on(batches, config, model, steps, **profiler)
    return steps


def measure(config: DictConfig, count: int, rounds: int) -> dict[str, Any]:
    """Time ``count`` batches without and with the ledger in turn.

    Milliseconds of an average step, of each part the median over the rounds.
    """
    valid = checked(config)
    if valid.threads is not None:
        torch.set_num_threads(valid.threads)
    clock = time.thread_time if torch.get_num_threads() == 1 else time.perf_counter
    prepared = prepare(valid.data, valid.text, valid.seed)
    decide(config, Statistics.of(prepared))
    valid = checked(config)
    batches, making = sample(DocumentsDataModule(prepared, valid.tbptt, valid.seed), count + WARM_UP, clock)
    counted = batches[WARM_UP:]
    data = 1000 * sum(making[WARM_UP:]) / len(counted)
    per_step = 1000 / len(counted)
    plain, watched, found = [], [], []
    for _ in range(rounds):
        steps = run(config, prepared, batches, clock)
        plain.append(per_step * (steps.ended[-1] - steps.ended[WARM_UP - 1]) + data)
        ledger = Ledger(clock)
        run(config, prepared, batches, clock, ledger)
        found.append({key: per_step * seconds for key, seconds in ledger.spent.items()})
        found[-1][DATA, "forward"] = found[-1].get((DATA, "forward"), 0.0) + data
        watched.append(sum(found[-1].values()))

    def spent(part: str, way: str) -> float:
        return statistics.median(each.get((part, way), 0.0) for each in found)

    tokens = sum(batch.num_tokens for batch in counted)
    ms = statistics.median(plain)
    names = [*ORDER, *sorted({part for each in found for part, _ in each} - set(ORDER))]
    rows = [{"part": part, **{f"{way}_ms": spent(part, way) for way in ("forward", "backward")}} for part in names]
    return {
        "clock": "processor time of the thread" if clock is time.thread_time else "wall time",
        "batches": len(counted),
        "rounds": rounds,
        "tokens": tokens,
        "ms_per_step": ms,
        "us_per_token": 1000 * ms * len(counted) / tokens,
        "tokens_per_second": 1000 * tokens / (ms * len(counted)),
        "ms_per_step_each_round": plain,
        "ms_per_step_with_ledger_each_round": watched,
        "parts": [row for row in rows if spent(row["part"], "forward") + spent(row["part"], "backward") > 0],
    }


def table(measured: dict[str, Any]) -> StudyTable:
    """Milliseconds of an average step and the share of each part."""
    total = sum(row["forward_ms"] + row["backward_ms"] for row in measured["parts"])
    lines = []
    for row in measured["parts"]:
        both = row["forward_ms"] + row["backward_ms"]
        figures = [f"{row[key]:.2f}" if row[key] >= 0.005 else "" for key in ("forward_ms", "backward_ms")]
        lines.append([row["part"], *figures, f"{both:.2f}", f"{100 * both / total:.1f}"])
    lines.append(["all", "", "", f"{total:.2f}", "100.0"])
    return StudyTable(["part", "forward ms", "backward ms", "both ms", "%"], lines)


def summary(measured: dict[str, Any]) -> str:
    """What the same steps take when nobody watches."""
    return (
        f"Without the ledger: {measured['ms_per_step']:.1f} ms a step, {measured['us_per_token']:.2f} microseconds a "
        f"token, {measured['tokens_per_second'] / 1000:.1f}k tokens/s ({measured['clock']}, "
        f"{measured['batches']} batches, median of {measured['rounds']} rounds)."
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, show the table and, with --output, keep the numbers."""
    parser = argparse.ArgumentParser(description="Where a training step's time goes, part by part.")
    parser.add_argument("overrides", nargs="*", help="of the config: model=gru trainer.gradient_clip_val=null")
    parser.add_argument("--batches", type=int, default=40, help="spread over the first epoch (default 40)")
    parser.add_argument("--rounds", type=int, default=3, help="of which the medians count (default 3)")
    parser.add_argument("--output", type=Path, help="a JSON file for the numbers")
    given = parser.parse_intermixed_args(arguments)
    warnings.filterwarnings("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    register_resolver()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        fixed = ["name=profile", "recipe=fixed", "threads=1", "callbacks.progress_bar=null", "trainer.accelerator=cpu"]
        config = compose("config", [*fixed, *given.overrides])
    measured = measure(config, given.batches, given.rounds)
    table(measured).show()
    print(summary(measured))
    if given.output:
        command = " ".join(["python", "experiments/speed/step_profile.py", *(arguments or sys.argv[1:])])
        environment = describe_environment(torch.device("cpu"))
        text = json.dumps({"command": command, "environment": environment, **measured}, indent=1)
        write_atomically(given.output, text + "\n")


if __name__ == "__main__":
    main()
