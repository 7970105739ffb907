"""Study of what keeps one layer from its floor: python experiments/layer_bound/run.py

The floor of a chunk is the number of operations of its matrix products, forward and backward, at the rate of a product
of two matrices of 1024 x 1024. Beside the engine's time stands that of the same products at their own shapes, and that
of the activations and their derivatives, on numbers that stay in the cache, and that of writing what backward needs
of each step to memory and reading it once, all by torch's operators and without allocation. What else a recurrence
needs, the sums and products of gates, the layout of weights and the time of a call, is not in them, nor does a step
wait for the one before.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter

import torch

from unrolled.benchmarks.recurrences import CHUNK, GATES, SHAPES, SIDE, Shape, four_kinds, modules_of, trains
from unrolled.benchmarks.timing import Times, alternate, processor_clock, ratios
from unrolled.nn.engines.by_hand import BLOCK_BYTES
from unrolled.nn.engines.fused import version
from unrolled.studies.study import Report, run_study
from unrolled.studies.table import StudyTable
from unrolled.train.environment import describe_environment

SIGMOIDS = {"RNN": 0, "LSTM": 3, "GRU": 2}  # of each unit in a time step
TANHS = {"RNN": 1, "LSTM": 2, "GRU": 1}
SAVED = {"RNN": 0, "LSTM": 5, "GRU": 4}  # numbers besides the outputs; a projected LSTM has one more
PARTS = {  # what is measured beside the engine
    "of all steps": "products over all steps",
    "of each step": "products of each step",
    "activations": "activations",
    "saved": "values saved for backward",
}


@dataclass(frozen=True)
class Row:
    """A chunk of one shape, forward and backward."""

    shape: str
    threads: int
    seconds: dict[str, list[float]]  # of the engine, of each of PARTS and of the floor, in each round

    def over_floor(self, name: str) -> float:
        """The median of the ratios to the floor within a round."""
        return ratios(Times(self.seconds["floor"]), Times(self.seconds[name]))[1]


def pieces(shape: Shape, steps: int) -> list[int]:
    """Lengths of the pieces of time whose gates stay in the cache, as the engine has them."""
    whole = steps * shape.B * GATES[shape.kind] * shape.H * 4
    count = min(-(-whole // (BLOCK_BYTES * torch.get_num_threads())), steps)
    return [steps * (i + 1) // count - steps * i // count for i in range(count)]


def of_all_steps(shape: Shape, steps: int) -> Callable[[], None]:
    """The input product, the input's gradient, and the gradients of all weights."""
    G, S = GATES[shape.kind] * shape.H, shape.P or shape.H
    W, dW, dU, dR = (torch.randn(size) for size in ((G, shape.E), (shape.E, G), (S, G), (shape.H, shape.P)))
    x, dx, y, m, dp = (
        [torch.randn(n * shape.B, width) for n in pieces(shape, steps)]
        for width in (shape.E, shape.E, S, shape.H, shape.P)
    )
    room = torch.randn(max(map(len, x)), G)

    def run() -> None:
        for part in x:
            torch.mm(part, W.t(), out=room[: len(part)])
        for i in reversed(range(len(x))):
            da = room[: len(x[i])]
            torch.mm(da, W, out=dx[i])
            torch.mm(x[i].t(), da, out=dW)
            torch.mm(y[i].t(), da, out=dU)
            if shape.P:
                torch.mm(m[i].t(), dp[i], out=dR)

    return run


def of_each_step(shape: Shape, steps: int) -> Callable[[], None]:
    """The recurrent product and the projection of each step, and the gradients of what they multiply."""
    G, S = GATES[shape.kind] * shape.H, shape.P or shape.H
    U, R = torch.randn(G, S), torch.randn(shape.P, shape.H)
    y, m = ([torch.randn(n, shape.B, width) for n in pieces(shape, steps)] for width in (S, shape.H))
    room = torch.randn(max(map(len, y)), shape.B, G)

    def run() -> None:
        for forward in (True, False):
            for outputs, hidden in zip(y, m, strict=True):
                n = len(outputs)
                u, r, gates = U.expand(n, -1, -1), R.expand(n, -1, -1), room[:n]
                if forward:
                    torch.bmm(outputs, u.mT, out=gates)
                else:
                    torch.bmm(gates, u, out=outputs)
                if shape.P:
                    torch.bmm(hidden, r.mT, out=outputs) if forward else torch.bmm(outputs, r, out=hidden)

    return run


def activations(shape: Shape, steps: int) -> Callable[[], None]:
    """Sigmoid and tanh of as many numbers as there are, and their derivatives times a gradient."""
    sizes = [n * shape.B * shape.H for n in pieces(shape, steps)]
    given, result = torch.randn(max(sizes)), torch.empty(max(sizes))
    operators = torch.ops.aten

    def run() -> None:
        for size in sizes:
            x, out = given[:size], result[:size]
            for _ in range(SIGMOIDS[shape.kind]):
                torch.sigmoid(x, out=out)
                operators.sigmoid_backward.grad_input(x, out, grad_input=out)
            for _ in range(TANHS[shape.kind]):
                torch.tanh(x, out=out)
                operators.tanh_backward.grad_input(x, out, grad_input=out)

    return run


def saved(shape: Shape, steps: int) -> Callable[[], None]:
    """The gates, and what else backward reads, written piece by piece and then read."""
    width = (SAVED[shape.kind] + bool(shape.P)) * shape.H
    kept = [torch.randn(n * shape.B * width) for n in pieces(shape, steps)]
    room = torch.randn(max(map(len, kept)))

    def run() -> None:
        for part in kept:
            part.copy_(room[: len(part)])
        for part in reversed(kept):
            room[: len(part)].copy_(part)

    return run


def measure(shape: Shape, threads: int, steps: int, rounds: int, least: float) -> Row:
    """All in turn, by processor time on one thread, else by the clock on the wall."""
    torch.set_num_threads(threads)
    square = torch.randn(SIDE, SIDE)
    candidates = {
        "engine": trains(modules_of(shape)["fused"], torch.randn(steps, shape.B, shape.E)),
        "of all steps": of_all_steps(shape, steps),
        "of each step": of_each_step(shape, steps),
        "activations": activations(shape, steps),
        "saved": saved(shape, steps),
        "floor": lambda: square @ square,
    }
    times = alternate(candidates, rounds, 1, processor_clock(1) if threads == 1 else perf_counter, least)
    seconds = {name: each.seconds for name, each in times.items()}
    share = shape.operations(steps * shape.B) / (2 * SIDE**3)  # of the square product's operations
    return Row(str(shape), threads, {**seconds, "floor": [share * each for each in seconds["floor"]]})


def table(rows: Sequence[Row]) -> StudyTable:
    """A line per shape and number of threads: each time as a multiple of the floor."""
    header = ["shape", "threads", "floor ms", "engine", *PARTS.values(), "all parts"]
    lines = []
    for row in rows:
        parts = [row.over_floor(name) for name in PARTS]
        figures = [row.over_floor("engine"), *parts, sum(parts)]
        floor = f"{1e3 * Times(row.seconds['floor']).median:.2f}"
        lines.append([row.shape, str(row.threads), floor, *(f"{figure:.2f}" for figure in figures)])
    return StudyTable(header, lines)


def study(arguments: argparse.Namespace) -> Report:
    """All shapes on one thread and on two."""
    steps, rounds, least = (10, 1, 0.0) if arguments.quick else (CHUNK, 7, 0.1)
    shapes = four_kinds(2, 8, 8, 4) if arguments.quick else SHAPES
    rows = [measure(shape, threads, steps, rounds, least) for threads in (1, 2) for shape in shapes]
    text = (
        f"Multiples of the floor, medians of {rounds} rounds; chunks of {steps} time steps; {version()} loops, torch "
        f"{torch.__version__}, {torch.backends.cpu.get_cpu_capability()}."
    )
    about = {"steps": steps, "rounds": rounds, "loops": version(), "environment": describe_environment()}
    return Report(table(rows), rows, text, about)


if __name__ == "__main__":
    run_study(
        __file__,
        study,
        description="One layer's time beside that of its products, activations and saved values alone.",
        quick="one round of small shapes",
        trains=False,
    )
