"""Time one layer alone, forward and backward: the engine `fused`, dense torch.nn, and the matrix products' own time.

    python experiments/speed/engine.py threads=1
    OMP_NUM_THREADS=2 OMP_WAIT_POLICY=passive python experiments/speed/engine.py threads=2 clock=cpu
    python experiments/speed/engine.py threads=2 out=experiments/speed/engine_2_threads.json

The floor of a shape is the number of operations of its matrix products, forward and backward, at the rate of a product
of two matrices of 1024 x 1024 in the same round. Every round times all three one after another; the table has medians
over rounds, and medians of the ratios within a round.

`clock=cpu` counts processor time divided by the number of threads, which other programs on the machine disturb least;
on several threads it wants OMP_WAIT_POLICY=passive, so that waiting is not counted, and does not show what waiting
costs. `clock=wall` does, and needs an idle machine. The default is cpu on one thread and wall on several.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from unrolled.nn.engines.fused import fused, version

STEPS = 100
SHAPES = [  # kind, B, E, H, P
    ("LSTM", 64, 200, 128, 64),
    ("LSTM", 64, 200, 128, 0),
    ("GRU", 64, 200, 128, 0),
    ("RNN", 64, 200, 128, 0),
    ("LSTM", 32, 128, 128, 64),
    ("LSTM", 32, 128, 128, 0),
    ("GRU", 32, 128, 128, 0),
    ("RNN", 32, 128, 128, 0),
    ("LSTM", 64, 256, 256, 0),
    ("LSTM", 64, 256, 256, 128),
    ("GRU", 64, 256, 256, 0),
    ("RNN", 64, 256, 256, 0),
]
GATES = {"RNN": 1, "LSTM": 4, "GRU": 3}


def operations(kind: str, B: int, E: int, H: int, P: int, steps: int = STEPS) -> float:
    """Multiplications and additions in the matrix products of forward and backward, with the gradient of the input."""
    return 3 * 2 * steps * B * H * (GATES[kind] * (E + (P or H)) + P)


def forward_and_backward(kind: str, B: int, E: int, H: int, P: int) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """(the engine, torch.nn), each a call that reads a chunk and computes the gradients of input, state and weights."""
    torch.manual_seed(0)
    module = getattr(nn, kind)(E, H, **({"proj_size": P} if P else {}))
    weights = {name.removesuffix("_l0"): weight for name, weight in module.named_parameters()}
    x = torch.randn(STEPS, B, E, requires_grad=True)
    state = tuple(torch.zeros(B, size, requires_grad=True) for size in ([P or H, H] if kind == "LSTM" else [H]))
    hx = tuple(s.detach().unsqueeze(0).requires_grad_() for s in state)
    grad = torch.randn(STEPS, B, P or H)

    def engine() -> None:
        outputs, _ = fused(kind, x, state, weights)  # type: ignore[arg-type]
        torch.autograd.grad(outputs, [x, *state, *weights.values()], grad)

    def dense() -> None:
        outputs, _ = module(x, hx if len(hx) > 1 else hx[0])
        torch.autograd.grad(outputs, [x, *hx, *weights.values()], grad)

    return engine, dense


def seconds(run: Callable[[], Any], clock: Callable[[], float], least: float = 0.15) -> float:
    """Seconds a call takes, over as many calls as fill `least` seconds."""
    calls, started = 0, clock()
    while (taken := clock() - started) < least:
        run()
        calls += 1
    return taken / calls


def measure(
    shape: tuple[str, int, int, int, int], threads: int, rounds: int, clock: Callable[[], float]
) -> dict[str, Any]:
    engine, dense = forward_and_backward(*shape)
    square = torch.randn(1024, 1024)
    for run in (engine, dense):
        run()
    rows = []
    for _ in range(rounds):
        rate = 2 * 1024**3 / seconds(lambda: square @ square, clock)
        rows.append((seconds(engine, clock), seconds(dense, clock), operations(*shape) / rate))
    return {
        **dict(zip(("kind", "B", "E", "H", "P"), shape, strict=True)),
        "threads": threads,
        "engine_ms": 1e3 * statistics.median(row[0] for row in rows),
        "torch_ms": 1e3 * statistics.median(row[1] for row in rows),
        "floor_ms": 1e3 * statistics.median(row[2] for row in rows),
        "engine_over_floor": statistics.median(row[0] / row[2] for row in rows),
        "torch_over_engine": statistics.median(row[1] / row[0] for row in rows),
    }


def main() -> None:
    options = {"threads": "1", "rounds": "7", "out": "", "only": ""} | dict(a.split("=", 1) for a in sys.argv[1:])
    threads = int(options["threads"])
    torch.set_num_threads(threads)
    on_cpu = options.setdefault("clock", "cpu" if threads == 1 else "wall") == "cpu"
    clock = (lambda: time.process_time() / threads) if on_cpu else time.perf_counter
    print(f"{version()} loops, torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}, {options}")
    print(f"{'':>24} {'fused ms':>9} {'torch.nn ms':>11} {'floor ms':>9} {'fused/floor':>11} {'torch.nn/fused':>14}")
    results = []
    for shape in SHAPES:
        name = f"{shape[0]} B{shape[1]} E{shape[2]} H{shape[3]} P{shape[4]}"
        if options["only"] not in name:
            continue
        result = measure(shape, threads, int(options["rounds"]), clock)
        results.append(result)
        print(
            f"{name:>24} {result['engine_ms']:9.1f} {result['torch_ms']:11.1f} {result['floor_ms']:9.1f} "
            f"{result['engine_over_floor']:11.2f} {result['torch_over_engine']:14.2f}",
            flush=True,
        )
    if options["out"]:
        path = Path(options["out"])
        path.parent.mkdir(parents=True, exist_ok=True)
        about = {"command": sys.argv, "torch": torch.__version__, "loops": version()}
        path.write_text(json.dumps({**about, "shapes": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
