"""What does a chunk cost? Six parts, fitted to measurements of one layer: python experiments/speed/cost_model.py

The time of a chunk of K steps, forward and backward, on one thread is taken to be

    operations of the input product / its rate  +  operations of the recurrent products / their rate
    + K B G H numbers of gates * time of a number  +  K * time of a step
    + number of weights, which are laid out and get a gradient once a call, * time of a weight  +  time of a call

with rates and times that depend on the cell alone. They are fitted by least squares of the relative error, none
negative, to the shapes below; the error is told for other shapes, which the fit has not seen. The largest part is what
limits a shape.
"""

import argparse
import json
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.optimize import nnls

from unrolled.benchmarks.recurrences import GATES, Shape, modules_of, trains
from unrolled.benchmarks.timing import alternate, processor_clock
from unrolled.files import write_atomically
from unrolled.nn.engines.fused import version
from unrolled.studies.table import write_between_marks
from unrolled.train.environment import describe_environment

FOLDER = Path(__file__).parent
PARTS = ("input product", "recurrent products", "gates", "steps", "weights", "call")
SIZES = [  # K, B, E, H
    (100, 64, 200, 128),
    (100, 32, 128, 128),
    (100, 64, 256, 256),
    (100, 8, 128, 128),
    (100, 1, 128, 128),
    (400, 1, 64, 32),
    (400, 4, 64, 64),
    (25, 32, 256, 64),
    (10, 16, 128, 256),
    (2, 4, 64, 64),
    (200, 16, 512, 64),
    (100, 16, 64, 256),
]
UNSEEN = [(50, 64, 128, 128), (100, 16, 200, 128), (200, 4, 128, 64), (20, 8, 64, 128), (100, 48, 300, 192)]
KINDS = ("LSTMP", "LSTM", "GRU", "RNN")


@dataclass(frozen=True)
class Measured:
    """A chunk of one shape."""

    K: int
    shape: Shape
    seconds: float

    @property
    def amounts(self) -> np.ndarray:
        """(6,) how much there is of each part: operations twice, numbers, steps, weights and calls."""
        shape, tokens = self.shape, self.K * self.shape.B
        gates = GATES[shape.kind] * shape.H
        of_input = 3 * 2 * tokens * gates * shape.E
        weights = gates * (shape.E + (shape.P or shape.H)) + shape.P * shape.H
        return np.array([of_input, shape.operations(tokens) - of_input, tokens * gates, self.K, weights, 1.0])


def shape_of(kind: str, B: int, E: int, H: int) -> Shape:
    """LSTMP projects to half its units."""
    return Shape(kind.removesuffix("P"), B, E, H, H // 2 if kind == "LSTMP" else 0)


def measure(kind: str, sizes: list[tuple[int, int, int, int]], rounds: int) -> list[Measured]:
    """All sizes in turn, in each round."""
    shapes = [(K, shape_of(kind, B, E, H)) for K, B, E, H in sizes]
    runs = {
        str(i): trains(modules_of(shape)["fused"], torch.randn(K, shape.B, shape.E))
        for i, (K, shape) in enumerate(shapes)
    }
    times = alternate(runs, rounds, 1, processor_clock(1), least=0.04)
    return [Measured(K, shape, times[str(i)].median) for i, (K, shape) in enumerate(shapes)]


def fit(measured: list[Measured]) -> np.ndarray:
    """(6,) seconds of each of `Measured.amounts`: least squares of the relative error."""
    seconds = np.array([each.seconds for each in measured])
    amounts = np.stack([each.amounts for each in measured]) / seconds[:, None]
    scale = amounts.max(axis=0)  # the amounts differ by ten orders of magnitude
    return nnls(amounts / scale, np.ones(len(measured)))[0] / scale


def row(each: Measured, costs: np.ndarray, seen: bool) -> dict[str, Any]:
    """What the model says of one shape."""
    parts = each.amounts * costs
    return {
        "K": each.K,
        "shape": str(each.shape),
        "seen": seen,
        "milliseconds": 1e3 * each.seconds,
        "predicted": 1e3 * parts.sum(),
        "error": parts.sum() / each.seconds - 1,
        "shares": dict(zip(PARTS, (parts / parts.sum()).tolist(), strict=True)),
        "limit": PARTS[int(parts.argmax())],
    }


def table(found: dict[str, dict[str, Any]]) -> str:
    """Markdown: the costs of each cell, and every unseen shape."""
    lines = [
        "| cell | input product GFLOP/s | recurrent products GFLOP/s | number of a gate ns | step us | weight ns "
        "| call us | error of fit, median and largest % | of unseen shapes, median and largest % |",
        "| --- |" + " ---: |" * 8,
    ]
    for kind, one in found.items():
        of_input, recurrent, gate, step, weight, call = one["costs"]
        rates = " | ".join(f"{1e-9 / cost:.0f}" if cost else "free" for cost in (of_input, recurrent))
        errors = " | ".join(
            f"{np.median(sizes):.0f}, {max(sizes):.0f}"
            for seen in (True, False)
            if (sizes := [100 * abs(each["error"]) for each in one["shapes"] if each["seen"] is seen])
        )
        of_each = f"{1e9 * gate:.2f} | {1e6 * step:.2f} | {1e9 * weight:.1f}"
        lines.append(f"| {kind} | {rates} | {of_each} | {1e6 * call:.0f} | {errors} |")
    lines += [
        "",
        "| K | shape | measured ms | predicted ms | " + " | ".join(f"{part} %" for part in PARTS) + " | limit |",
    ]
    lines.append("| ---: | --- |" + " ---: |" * (2 + len(PARTS)) + " --- |")
    for one in found.values():
        for each in one["shapes"]:
            shares = " | ".join(f"{100 * share:.0f}" for share in each["shares"].values())
            mark = "" if each["seen"] else " (unseen)"
            lines.append(
                f"| {each['K']} | {each['shape']}{mark} | {each['milliseconds']:.2f} | {each['predicted']:.2f} "
                f"| {shares} | {each['limit']} |"
            )
    return "\n".join(lines)


def main() -> None:
    """Measure, fit, print, and write cost_model.json and the table in README.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5, help="of which the median counts (default 5)")
    parser.add_argument("--output", type=Path, default=FOLDER, help="folder of cost_model.json and README.md")
    given = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[str, dict[str, Any]] = {}
    for kind in KINDS:
        measured = measure(kind, SIZES + UNSEEN, given.rounds)
        costs = fit(measured[: len(SIZES)])
        shapes = [row(each, costs, i < len(SIZES)) for i, each in enumerate(measured)]
        found[kind] = {"costs": costs.tolist(), "shapes": shapes}
    print(table(found))
    command = shlex.join(["python", "experiments/speed/cost_model.py", *sys.argv[1:]])
    about = {"command": command, "loops": version(), "environment": describe_environment(torch.device("cpu"))}
    given.output.mkdir(parents=True, exist_ok=True)
    write_atomically(given.output / "cost_model.json", json.dumps({**about, "cells": found}, indent=1) + "\n")
    write_between_marks(given.output / "README.md", table(found))


if __name__ == "__main__":
    main()
