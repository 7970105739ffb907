"""Every handwritten recurrence against torch.nn, dense and with unequal lengths, and against its products alone."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

import unrolled
from unrolled.benchmarks.timing import alternate, ratios


@dataclass(frozen=True)
class Shapes:
    """What is measured."""

    steps: int = 100  # K
    batch: int = 64  # B
    features: int = 128  # E
    hidden: int = 128  # H
    proj: int = 64  # P of LSTMP


PAIRS: dict[str, tuple[Callable[..., nn.Module], Callable[..., nn.Module]]] = {
    "rnn": (unrolled.RNN, nn.RNN),
    "lstm": (unrolled.LSTM, nn.LSTM),
    "lstmp": (unrolled.LSTM, nn.LSTM),
    "gru": (unrolled.GRU, nn.GRU),
}
GATES = {"rnn": 1, "lstm": 4, "lstmp": 4, "gru": 3}


def measure(shapes: Shapes, device: torch.device, repetitions: int) -> list[dict[str, object]]:
    """One row per recurrence and kind of batch: tokens per second of both, and the ratio.

    A token counts once it has been read forward and its gradient has come back to the input and all weights. Floor:
    the matrix products of forward and backward without anything else. Unequal: lengths drawn evenly from 1 to K, both
    on a PackedSequence.
    """
    torch.manual_seed(0)
    rows: list[dict[str, object]] = []
    x = torch.randn(shapes.steps, shapes.batch, shapes.features, device=device, requires_grad=True)
    lengths = torch.randint(1, shapes.steps + 1, (shapes.batch,)).sort(descending=True).values
    lengths[0] = shapes.steps
    for name, (our_class, their_class) in PAIRS.items():
        options = {"proj_size": shapes.proj} if name == "lstmp" else {}
        ours = our_class(shapes.features, shapes.hidden, **options).to(device)
        theirs = their_class(shapes.features, shapes.hidden, **options).to(device)
        dense: dict[str, Callable[[], None]] = {
            "ours": partial(_train, ours, x),
            "theirs": partial(_train, theirs, x),
            "floor": _floor(name, shapes, x),
        }
        rows.append(_row(name, "dense", shapes.steps * shapes.batch, dense, repetitions))
        packed = pack_padded_sequence(x, lengths)
        unequal = {"ours": partial(_train, ours, packed), "theirs": partial(_train, theirs, packed)}
        rows.append(_row(name, "unequal", int(lengths.sum()), unequal, repetitions))
    return rows


def _row(
    name: str, kind: str, tokens: int, candidates: Mapping[str, Callable[[], None]], repetitions: int
) -> dict[str, object]:
    times = alternate(candidates, repetitions)
    low, middle, high = ratios(times["ours"], times["theirs"])
    return {
        "recurrence": name,
        "batch": kind,
        "tokens": tokens,
        **{f"{who}_tokens_per_second": tokens / each.median for who, each in times.items()},
        "ratio": middle,  # of speeds, ours over torch.nn's
        "ratio_low": low,
        "ratio_high": high,
        "seconds": {who: each.seconds for who, each in times.items()},
    }


def _train(recurrence: nn.Module, x: Tensor | PackedSequence) -> None:
    outputs, _ = recurrence(x)
    outputs = outputs.data if isinstance(outputs, PackedSequence) else outputs
    outputs.sum().backward(retain_graph=True)  # a packed input's own graph is used again


def _floor(name: str, shapes: Shapes, x: Tensor) -> Callable[[], None]:
    """Forward: one product for all inputs, one per step for the state; backward: twice as many."""
    out = shapes.proj if name == "lstmp" else shapes.hidden
    gates = GATES[name] * shapes.hidden
    data = x.detach().flatten(0, 1)
    W, U = torch.randn(gates, shapes.features, device=x.device), torch.randn(gates, out, device=x.device)
    h, g = torch.randn(shapes.batch, out, device=x.device), torch.randn(shapes.batch, gates, device=x.device)
    R, c = torch.randn(out, shapes.hidden, device=x.device), torch.randn(shapes.batch, shapes.hidden, device=x.device)
    all_g = torch.randn(len(data), gates, device=x.device)
    all_h = torch.randn(len(data), out, device=x.device)

    def run() -> None:
        torch.mm(data, W.t())
        for _ in range(shapes.steps):
            torch.mm(h, U.t())
            torch.mm(g, U)
            if name == "lstmp":
                torch.mm(c, R.t())
                torch.mm(h, R)
        torch.mm(all_g, W)
        torch.mm(all_g.t(), data)
        torch.mm(all_g.t(), all_h)

    return run
