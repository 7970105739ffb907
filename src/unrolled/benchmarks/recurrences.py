"""One recurrent layer alone: our engines and torch.nn against the time of the matrix products."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

import unrolled
from unrolled.benchmarks.timing import Clock, Times, alternate, ratios
from unrolled.data.corpus import TokenCorpus
from unrolled.nn.embedding import Embedding
from unrolled.nn.encoder import Encoder
from unrolled.nn.layer import Layer
from unrolled.tbptt.batch import documents_batch
from unrolled.tbptt.carried import CarriedState
from unrolled.tbptt.loop import ChunkLoop, Truncation

CHUNK = 100
GATES = {"RNN": 1, "LSTM": 4, "GRU": 3}
SIDE = 1024  # of the square product whose rate is the floor's


@dataclass(frozen=True)
class Shape:
    """Sizes of a layer and of what it reads."""

    kind: str  # RNN, LSTM or GRU
    B: int  # rows
    E: int  # features of the input
    H: int  # units
    P: int = 0  # of an LSTM with projection

    def __str__(self) -> str:
        kind = self.kind + ("P" if self.P else "")
        return f"{kind} B{self.B} E{self.E} H{self.H}" + (f" P{self.P}" if self.P else "")

    @property
    def options(self) -> dict[str, int]:
        """What the class of the layer takes besides E and H."""
        return {"proj_size": self.P} if self.P else {}

    def operations(self, tokens: int, backward: bool = True) -> float:
        """Multiplications and additions of the matrix products; the backward, with the input's gradient, has twice."""
        return (
            (3 if backward else 1) * 2 * tokens * self.H * (GATES[self.kind] * (self.E + (self.P or self.H)) + self.P)
        )


def four_kinds(B: int, E: int, H: int, P: int) -> list[Shape]:
    return [Shape("LSTM", B, E, H, P), *(Shape(kind, B, E, H) for kind in ("LSTM", "GRU", "RNN"))]


SHAPES = [*four_kinds(64, 200, 128, 64), *four_kinds(32, 128, 128, 64), *four_kinds(64, 256, 256, 128)]


@dataclass(frozen=True)
class Settings:
    clock: Clock
    rounds: int = 5
    least: float = 0.1  # seconds that each candidate runs in each round
    warm_up: int = 1  # rounds that do not count
    device: str = "cpu"  # entered to make tensors only: inside, every call of torch takes longer


def layer(shapes: Sequence[Shape], settings: Settings, steps: int = CHUNK) -> list[dict[str, Any]]:
    """A dense chunk (K, B, E), forward and backward, with the gradients of input, state and weights."""
    rows = []
    for shape in shapes:
        with torch.device(settings.device):
            x = torch.randn(steps, shape.B, shape.E)
            candidates = {name: trains(module, x) for name, module in modules_of(shape).items()}
        rows.append(_row(shape, steps * shape.B, candidates, settings, {"K": steps}))
    return rows


def unequal(shapes: Sequence[Shape], longest: int, settings: Settings) -> list[dict[str, Any]]:
    """Documents of lognormal lengths up to ``longest``, forward and backward.

    chunks: as training reads them, in chunks which documents leave that have ended; packed: our class, called with a
    PackedSequence as torch.nn's is.
    """
    rows = []
    for shape in shapes:
        lengths = lognormal_lengths(shape.B, longest)
        with torch.device(settings.device):
            ours, *_, theirs = modules_of(shape).values()
            packed = pack_padded_sequence(torch.randn(longest, shape.B, shape.E), torch.from_numpy(lengths))
            candidates = {
                "chunks": _reads_chunks(ours, shape, lengths),
                "packed": trains(ours, packed),
                "torch": trains(theirs, packed),
            }
        rows.append(_row(shape, int(lengths.sum()), candidates, settings, {"longest": longest}))
    return rows


def inference(shapes: Sequence[Shape], settings: Settings) -> list[dict[str, Any]]:
    """A dense chunk without gradients, and with one row one step after another, as text that comes in parts."""
    rows = []
    for shape in shapes:
        for steps, B in ((CHUNK, shape.B), (1, 1)):
            with torch.device(settings.device):
                x = torch.randn(steps, B, shape.E)
                candidates = {name: _infers(module, x) for name, module in modules_of(shape).items()}
            own = Shape(shape.kind, B, shape.E, shape.H, shape.P)
            rows.append(_row(own, steps * B, candidates, settings, {"K": steps}, backward=False))
    return rows


def length(shape: Shape, lengths: Sequence[int], settings: Settings) -> list[dict[str, Any]]:
    """Whole sequences of T tokens in one chunk, forward and backward: the time of a token should stay."""
    return [row | {"T": T} for T in lengths for row in layer([shape], settings, steps=T)]


def lognormal_lengths(documents: int, longest: int, seed: int = 0) -> np.ndarray:
    """Lengths as those of texts are distributed, the longest first: median a fifth of ``longest``, which one has."""
    drawn = np.random.default_rng(seed).lognormal(np.log(longest / 5), 0.9, documents)
    lengths = np.clip(drawn.astype(np.int64), 1, longest)
    lengths[0] = longest
    return np.sort(lengths)[::-1].copy()


def modules_of(shape: Shape) -> dict[str, nn.Module]:
    """The same weights in our engines, the fast one first, and in torch.nn."""
    torch.manual_seed(0)
    theirs = getattr(nn, shape.kind)(shape.E, shape.H, **shape.options)
    modules: dict[str, nn.Module] = {}
    for engine in ("fused", "eager") if next(theirs.parameters()).is_cpu else ("eager",):
        modules[engine] = getattr(unrolled, shape.kind)(shape.E, shape.H, engine=engine, **shape.options)
        modules[engine].load_state_dict(theirs.state_dict())
    return {**modules, "torch": theirs}


def _first_state(module: Any, B: int) -> tuple[Tensor, ...]:
    sizes = [module.proj_size or module.hidden_size, module.hidden_size]
    return tuple(torch.zeros(1, B, size) for size in (sizes if module.mode == "LSTM" else sizes[:1]))


def trains(module: nn.Module, x: Tensor | PackedSequence) -> Callable[[], Any]:
    """A call that reads x and computes the gradients of input, state and weights."""
    if isinstance(x, PackedSequence):
        data = x.data.detach().clone().requires_grad_()
        given: Any = PackedSequence(data, x.batch_sizes)
        rows = int(x.batch_sizes[0])
    else:
        data = given = x.detach().clone().requires_grad_()
        rows = x.shape[1]
    state = tuple(s.requires_grad_() for s in _first_state(module, rows))
    grad = torch.randn(*data.shape[:-1], state[0].shape[-1])

    def run() -> None:
        outputs, _ = module(given, state if len(state) > 1 else state[0])
        outputs = outputs.data if isinstance(outputs, PackedSequence) else outputs
        torch.autograd.grad(outputs, [data, *state, *module.parameters()], grad)

    return run


def _infers(module: nn.Module, x: Tensor) -> Callable[[], Any]:
    state = _first_state(module, x.shape[1])
    hx = state if len(state) > 1 else state[0]

    def run() -> None:
        nonlocal hx
        with torch.no_grad():
            _, hx = module(x, hx)

    return run


def _reads_chunks(module: nn.Module, shape: Shape, lengths: np.ndarray) -> Callable[[], Any]:
    encoder = Encoder([Layer([module], shape.E)])
    on_cpu = documents_batch(_corpus(lengths), np.arange(len(lengths)), CHUNK)
    vectors = torch.randn(on_cpu.num_positions, shape.E, requires_grad=True)
    batch = on_cpu.to(vectors.device)
    unused = Embedding(1, shape.E)  # the vectors have been looked up
    loop = ChunkLoop(encoder, unused, lambda x: x, None, Truncation(), None)
    state = tuple(s.requires_grad_() for s in encoder.initial_state(len(lengths)))
    grad = torch.randn(batch.num_positions, shape.P or shape.H)

    def run() -> None:
        outputs, _ = loop(batch.blocks, vectors, CarriedState(state, (), ()))
        assert outputs is not None
        torch.autograd.grad(outputs, [vectors, *state, *module.parameters()], grad)

    return run


def _corpus(lengths: np.ndarray) -> TokenCorpus:
    nothing = np.zeros(len(lengths), dtype=np.int64)
    tokens, starts = np.zeros(int(lengths.sum()), dtype=np.int64), np.cumsum(lengths) - lengths
    return TokenCorpus(tokens, np.zeros(1, dtype=np.int32), starts, lengths, nothing, np.arange(len(lengths)))


def _row(
    shape: Shape,
    tokens: int,
    candidates: Mapping[str, Callable[[], Any]],
    settings: Settings,
    about: Mapping[str, Any],
    backward: bool = True,
) -> dict[str, Any]:
    """Median milliseconds of each candidate, ours first, and of the floor, and ratios within a round."""
    square = torch.randn(SIDE, SIDE, device=settings.device)
    with_floor = {**candidates, "floor": lambda: square @ square}
    times = alternate(with_floor, settings.rounds, settings.warm_up, settings.clock, settings.least)
    share = shape.operations(tokens, backward) / (2 * SIDE**3)  # of the square product's operations
    times["floor"] = Times([share * each for each in times["floor"].seconds])
    low, middle, high = ratios(times[next(iter(candidates))], times["torch"])
    return {
        "shape": str(shape),
        **about,
        "tokens": tokens,
        "milliseconds": {name: 1e3 * each.median for name, each in times.items()},
        "over_floor": {name: ratios(times["floor"], each)[1] for name, each in times.items() if name != "floor"},
        "torch_over_ours": middle,
        "torch_over_ours_low": low,
        "torch_over_ours_high": high,
        "seconds": {name: each.seconds for name, each in times.items()},
    }
