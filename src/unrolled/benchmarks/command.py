"""`python benchmark.py`: speeds as ratios, measured in one run.

Torch and what needs it are imported once the arguments are known to be right: `--help` does not wait for them.
"""

import argparse
import json
import shlex
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from unrolled.console import plain_table
from unrolled.files import write_atomically
from unrolled.places import PROJECT

if TYPE_CHECKING:
    import torch

WHAT = ("recurrences", "overhead", "start", "threads")
PARTS = {  # what a row is, in microseconds a token
    "layer": "A dense chunk, forward and backward: microseconds a token",
    "unequal": "Documents of lognormal lengths, forward and backward: microseconds a token",
    "inference": "Without gradients; B1 K1 is the latency of one token: microseconds a token",
    "length": "Longer and longer sequences in one chunk, forward and backward: microseconds a token",
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="benchmark.py",
        description="Speed of the recurrences against torch.nn (recurrences), of training against a bare loop "
        "(overhead), of the programs' start (start), and of several threads on an idle and a busy machine (threads).",
    )
    parser.add_argument("what", nargs="?", default="recurrences", choices=WHAT)
    parser.add_argument("overrides", nargs="*", help="of the config, for overhead: model=gru data=reuters_r8")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default 1)")
    parser.add_argument("--repetitions", type=int, default=5, help="rounds, of which the median counts (default 5)")
    parser.add_argument("--device", help="cpu or cuda (default: a GPU where there is one)")
    parser.add_argument("--output", type=Path, help="a JSON file for the raw numbers")
    parser.add_argument(
        "--overhead-steps", type=int, default=40, help="training steps per round, for threads, too (default 40)"
    )
    parser.add_argument("--spins", type=int, nargs="+", help="looks before a waiting thread sleeps, for threads")
    parts = f"of {', '.join(PARTS)} (default: all)"
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=PARTS, metavar="PART", help=parts)
    parser.add_argument(
        "--clock",
        choices=("cpu", "wall"),
        help="processor time of a thread, or the clock on the wall (default: cpu on one thread, wall on several)",
    )
    return parser


def main(arguments: Sequence[str]) -> None:
    given = _parser().parse_intermixed_args(arguments)
    import torch

    from unrolled.benchmarks import overhead, start, threads
    from unrolled.nn.engines.fused import version
    from unrolled.train.environment import describe_environment

    given.device = given.device or ("cuda" if torch.cuda.is_available() else "cpu")
    given.spins = given.spins or threads.SPINS
    torch.set_num_threads(given.threads)
    device = torch.device(given.device)
    if given.what == "recurrences":
        found: object = _recurrences(given, device)
    elif given.what == "start":
        found = start.measure(given.repetitions)
        _show_start(found)
    elif given.what == "threads":
        found = threads.measure(given.threads, given.overhead_steps, given.repetitions, given.spins)
        _show_threads(found)
    else:
        from hydra import compose, initialize_config_dir

        with initialize_config_dir(str(PROJECT / "conf"), version_base="1.3"):
            fixed = ["name=overhead", "recipe=fixed", f"threads={given.threads}", "callbacks.progress_bar=null"]
            config = compose("config", [*fixed, *given.overrides])
        measured = overhead.measure(config, given.overhead_steps, given.repetitions)
        found = measured
        for clock in ("wall", "cpu"):
            share: Any = measured[clock]
            print(
                f"framework over a bare loop, {clock} time: {100 * share['overhead']:+.1f} % "
                f"({100 * share['overhead_low']:+.1f} to {100 * share['overhead_high']:+.1f})"
            )
        print(f"{measured['steps']} steps a round, {given.repetitions} rounds, {given.threads} threads")
    if given.output:
        environment = describe_environment(device)
        arguments_used = {name: value for name, value in vars(given).items() if name != "output"}
        text = json.dumps(
            {
                "command": shlex.join(["python", "benchmark.py", *arguments]),
                "arguments": arguments_used,
                "environment": environment,
                "loops": version(),
                "measured": found,
            },
            indent=1,
            default=str,
        )
        write_atomically(given.output, text + "\n")


def _recurrences(given: argparse.Namespace, device: "torch.device") -> dict[str, list[dict[str, Any]]]:
    """Measure the parts asked for, each with its table as soon as it is there."""
    import torch

    from unrolled.benchmarks import recurrences
    from unrolled.benchmarks.timing import processor_clock
    from unrolled.nn.engines.fused import version

    clock = given.clock or ("cpu" if given.threads == 1 and device.type == "cpu" else "wall")
    timer = processor_clock(given.threads) if clock == "cpu" else time.perf_counter
    settings = recurrences.Settings(timer, given.repetitions, device=given.device)
    few = recurrences.Settings(timer, max(given.repetitions // 2, 1), 0.0, 0, given.device)  # takes long
    shapes = recurrences.SHAPES
    some = shapes[4:8]
    how = f"{given.threads} threads, {clock} time, median of {settings.rounds} rounds, {version()} loops"
    print(f"{how}; torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}")
    found: dict[str, list[dict[str, Any]]] = {}
    for part in given.parts:
        if part == "layer":
            rows = recurrences.layer(shapes, settings)
        elif part == "unequal":
            rows = recurrences.unequal(some, 400, few)
            rows += recurrences.unequal([replace(shape, B=max(shape.B // 2, 1)) for shape in some], 2000, few)
        elif part == "inference":
            rows = recurrences.inference(some, settings)
        else:
            rows = recurrences.length(some[0], [100, 200, 400, 800, 1600, 3200], settings)
        found[part] = rows
        _show(PARTS[part], rows)
    return found


def _show(title: str, rows: list[dict[str, Any]]) -> None:
    names = list(rows[0]["milliseconds"])
    about = [name for name in ("K", "T", "longest") if name in rows[0]]
    columns = ("shape", *about, *(f"{name} us" for name in names), f"{names[0]} / floor", f"torch / {names[0]}")
    lines = []
    for row in rows:
        per_token = [f"{1e3 * row['milliseconds'][name] / row['tokens']:.2f}" for name in names]
        ratios = f"{row['over_floor'][names[0]]:.2f}", f"{row['torch_over_ours']:.2f}"
        lines.append((row["shape"], *(str(row[name]) for name in about), *per_token, *ratios))
    _print_table(title, columns, lines)


def _show_start(starts: dict[str, dict[str, Any]]) -> None:
    lines = [(name, f"{took['cpu']:.2f}", f"{took['wall']:.2f}") for name, took in starts.items()]
    _print_table("seconds, medians", ("command", "processor", "clock"), lines)


def _show_threads(found: dict[str, Any]) -> None:
    title = f"tokens/s of {found['threads']} threads by their way of waiting, with the share of what the cores can do"
    lines = []
    for name, rates in found["medians"].items():
        share = found["share"][name]
        lines.append((name, *(t for load in rates for t in (f"{rates[load]:,.0f}", f"{100 * share[load]:.0f} %"))))
    _print_table(title, ("waiting", "idle machine", "share", "one core taken", "share"), lines)


def _print_table(title: str, columns: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    Console(width=120).print(plain_table(columns, lines, title=title))
