"""Study of the differences between handwritten recurrences and torch.nn. Run: python experiments/parity/run.py

Every class and option is given torch.nn's weights and the same random inputs and initial states; outputs, final states
and the gradients of inputs, initial states and all weights are compared, in float32 and float64.
"""

import argparse
import copy
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy_reference
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import unrolled
from unrolled.nn import Recurrence
from unrolled.nn.cells import Cell, PerGateLSTMCell, SingleMatrixLSTMCell
from unrolled.nn.encoder import Encoder
from unrolled.nn.models import build_encoder
from unrolled.studies.study import Report, run_study
from unrolled.studies.table import StudyTable

TOLERANCE = {"float32": 1e-5, "float64": 1e-10}

State = tuple[Tensor, ...]
Named = dict[str, Tensor]
Compared = tuple[Named, Named]  # values; gradients


@dataclass(frozen=True)
class Sizes:
    """T time steps, B rows, E input features, H hidden units, P projected ones; `draws` random draws of each case."""

    T: int = 50
    B: int = 6
    E: int = 24
    H: int = 32
    P: int = 12
    draws: int = 3


@dataclass(frozen=True)
class Row:
    """One line of the table: the largest differences over all draws."""

    network: str
    reference: str
    option: str
    parameters: int
    parameters_of_reference: int
    values_float32: float
    gradients_float32: float
    values_float64: float
    gradients_float64: float


Make = Callable[..., Any]  # a class
Read = Callable[[nn.Module, Tensor, State | None], tuple[Tensor, State]]


@dataclass(frozen=True)
class Case:
    """What is compared with what. `read` feeds a module; the weights go from `theirs` to `ours`."""

    network: str
    option: str
    ours: Callable[[], Any]
    theirs: Callable[[], nn.Module]
    read: Read
    given_state: bool = True
    training: bool = False


# ---- ways of feeding a module: x (T, B, E) and states with batch on dimension 1, or None, give outputs and states ----


def dense(module: nn.Module, x: Tensor, state: State | None) -> tuple[Tensor, State]:
    """The whole batch at once, time first."""
    outputs, last = module(x, torch_form(state))
    return outputs, last if isinstance(last, tuple) else (last,)


def batch_first(module: nn.Module, x: Tensor, state: State | None) -> tuple[Tensor, State]:
    """Batch first: (B, T, E) in and (B, T, D) out, transposed to time first."""
    outputs, last = dense(module, x.transpose(0, 1), state)
    return outputs.transpose(0, 1), last


def unbatched(module: nn.Module, x: Tensor, state: State | None) -> tuple[Tensor, State]:
    """The first row alone, without a batch dimension."""
    return dense(module, x[:, 0], None if state is None else tuple(s[:, 0] for s in state))


def unequal(module: nn.Module, x: Tensor, state: State | None) -> tuple[Tensor, State]:
    """Rows of unequal length, unsorted and packed."""
    steps, batch_size = x.shape[:2]
    lengths = torch.tensor([1 + (7 * row + 3) % steps for row in range(batch_size)])
    packed, last = module(pack_padded_sequence(x, lengths, enforce_sorted=False), torch_form(state))
    return pad_packed_sequence(packed)[0], last if isinstance(last, tuple) else (last,)


def in_chunks(module: nn.Module, x: Tensor, state: State | None) -> tuple[Tensor, State]:
    """A third of the steps at a time; the state goes on, its gradient does not."""
    outputs = []
    for chunk in x.split(-(-len(x) // 3)):
        output, last = dense(module, chunk, state)
        outputs.append(output)
        state = tuple(s.detach() for s in last)
    return torch.cat(outputs), last


def one_step(module: nn.Module, x: Tensor, state: State | None) -> tuple[Tensor, State]:
    """A cell: the first step."""
    last = module(x[0], torch_form(None if state is None else tuple(s[0] for s in state)))
    last = last if isinstance(last, tuple) else (last,)
    return last[0].unsqueeze(0), tuple(s.unsqueeze(0) for s in last)


def torch_form(state: State | None) -> Any:
    """(h, c) for an LSTM, h alone for the others."""
    return state if state is None or len(state) > 1 else state[0]


# ---- the cases -------------------------------------------------------------------------------------------------------

OPTIONS: list[tuple[str, Read, dict[str, Any], dict[str, bool]]] = [  # name, how to feed it, arguments, kind of case
    ("one layer", dense, {}, {}),
    ("no initial state", dense, {}, {"given_state": False}),
    ("bias=False", dense, {"bias": False}, {}),
    ("num_layers=3", dense, {"num_layers": 3}, {}),
    ("bidirectional", dense, {"bidirectional": True}, {}),
    ("3 layers, dropout=0.4, evaluation", dense, {"num_layers": 3, "dropout": 0.4}, {}),
    ("3 layers, dropout=0.4, training", dense, {"num_layers": 3, "dropout": 0.4}, {"training": True}),
    ("batch_first", batch_first, {"batch_first": True}, {}),
    ("one sequence (T, E)", unbatched, {}, {}),
    ("packed, unequal lengths", unequal, {}, {}),
    ("three chunks, state detached", in_chunks, {}, {}),
    ("2 layers, bidirectional, no bias, packed", unequal, {"num_layers": 2, "bidirectional": True, "bias": False}, {}),
]


def cases(s: Sizes) -> Iterator[Case]:
    """All comparisons, in the order of the table."""
    yield from drop_in_classes(s)
    yield from other_forms(s)
    yield from numpy_references(s)


def drop_in_classes(s: Sizes) -> Iterator[Case]:
    """Every class with every option; then the cells."""
    classes: list[tuple[str, Make, Make, dict[str, Any]]] = [
        ("RNN, tanh", unrolled.RNN, nn.RNN, {}),
        ("RNN, relu", unrolled.RNN, nn.RNN, {"nonlinearity": "relu"}),
        ("LSTM", unrolled.LSTM, nn.LSTM, {}),
        ("LSTMP", unrolled.LSTM, nn.LSTM, {"proj_size": s.P}),
        ("GRU", unrolled.GRU, nn.GRU, {}),
    ]
    for name, ours, theirs, always in classes:
        for option, read, arguments, kind in OPTIONS:
            how = always | arguments
            yield Case(name, option, partial(ours, s.E, s.H, **how), partial(theirs, s.E, s.H, **how), read, **kind)
        how = always | {"num_layers": 2}
        dropouts = {"weight_dropout": 0.2}
        regularised, plain = partial(ours, s.E, s.H, **how, **dropouts), partial(theirs, s.E, s.H, **how)
        yield Case(name, "2 layers, weight_dropout, evaluation", regularised, plain, dense)
    cells: list[tuple[Make, Make]] = [
        (unrolled.RNNCell, nn.RNNCell),
        (unrolled.LSTMCell, nn.LSTMCell),
        (unrolled.GRUCell, nn.GRUCell),
    ]
    for ours, theirs in cells:
        yield Case(ours.__name__, "one step", partial(ours, s.E, s.H), partial(theirs, s.E, s.H), one_step)


def other_forms(s: Sizes) -> Iterator[Case]:
    """One matrix per gate, a single matrix, and encoders: lists of layers."""
    cells: list[type[Cell]] = [PerGateLSTMCell, SingleMatrixLSTMCell]
    variants: list[tuple[str, dict[str, Any]]] = [
        ("one layer", {}),
        ("bias=False", {"bias": False}),
        ("proj_size", {"proj_size": s.P}),
        ("3 layers", {"num_layers": 3}),
        ("2 layers, bidirectional", {"num_layers": 2, "bidirectional": True}),
    ]
    for cell in cells:
        for option, how in variants:
            ours = partial(Recurrence, cell, s.E, s.H, **how)
            yield Case(cell.__name__, option, ours, partial(nn.LSTM, s.E, s.H, **how), dense)
    whole = partial(nn.GRU, s.E, s.H, num_layers=3)
    for implementation in ("handwritten", "official"):
        yield Case(f"Encoder, {implementation} GRU", "3 layers", partial(encoder, s, implementation), whole, dense)


def encoder(s: Sizes, implementation: str) -> "EncoderAsTorch":
    """Three layers of a GRU, each a module of its own."""
    return EncoderAsTorch(build_encoder(s.E, s.H, "gru", num_layers=3, implementation=implementation))


class EncoderAsTorch(nn.Module):
    """An encoder with the state and the names of weights of torch.nn's module."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, x: Tensor, h: Tensor | None) -> tuple[Tensor, Tensor]:
        state = self.encoder.initial_state(x.shape[1]) if h is None else tuple(h.split(1))
        outputs, last = self.encoder(x, state)
        return outputs, torch.cat(last)

    def named_weights(self) -> Named:
        """By torch.nn's names."""
        return {
            name.rsplit(".", 1)[-1].removesuffix("_l0") + f"_l{number}": weight
            for number, layer in enumerate(self.encoder.layers)
            for name, weight in layer.named_parameters()
        }


def numpy_references(s: Sizes) -> Iterator[Case]:
    """Two layers of each NumPy recurrence; torch.nn has no identity RNN, so ours stands in."""
    identity = {"nonlinearity": "identity"}
    relu = {"nonlinearity": "relu"}
    projected = {"proj_size": s.P}
    recurrences: list[tuple[str, Make, dict[str, Any], type[nn.Module], dict[str, Any]]] = [
        ("RNN, tanh", numpy_reference.RNN, {}, nn.RNN, {}),
        ("RNN, relu", numpy_reference.RNN, relu, nn.RNN, relu),
        ("RNN, identity", numpy_reference.RNN, identity, unrolled.RNN, identity),
        ("LSTM", numpy_reference.LSTM, {}, nn.LSTM, {}),
        ("LSTMP", numpy_reference.LSTMP, projected, nn.LSTM, projected),
        ("GRU", numpy_reference.GRU, {}, nn.GRU, {}),
    ]
    for name, make, how, theirs, their_how in recurrences:
        ours = partial(numpy_stack, partial(make, **how), s)
        yield Case(f"NumPy {name}", "2 layers", ours, partial(theirs, s.E, s.H, num_layers=2, **their_how), dense)


def numpy_stack(make: Callable[..., numpy_reference.Recurrence], s: Sizes) -> numpy_reference.Stack:
    """Two NumPy layers, in the precision that torch has as its default."""
    dtype = np.float32 if torch.get_default_dtype() == torch.float32 else np.float64
    rng = np.random.default_rng(0)  # these weights are overwritten
    below = make(s.E, s.H, rng=rng, dtype=dtype)
    return numpy_reference.Stack([below, make(below.output_size, s.H, rng=rng, dtype=dtype)])


# ---- values and gradients of one side --------------------------------------------------------------------------------


def of_module(module: nn.Module, case: Case, x: Tensor, state: State | None, wanted: list[Tensor]) -> Compared:
    """Outputs and last states; gradients of a random linear function of them."""
    x = x.detach().requires_grad_()
    state = None if state is None else tuple(s.detach().requires_grad_() for s in state)
    module.train(case.training)
    torch.manual_seed(0)  # dropout draws the same elements on both sides
    outputs, last = case.read(module, x, state)
    values = [outputs, *last]
    torch.autograd.backward(values, [shaped_like(*pair) for pair in zip(values, wanted, strict=True)])
    gradients = gradients_in_torchs_layout(module)
    gradients |= {f"input {k}": t.grad for k, t in enumerate((x, *(state or ()))) if t.grad is not None}
    return {str(k): value.detach() for k, value in enumerate(values)}, gradients


def shaped_like(value: Tensor, numbers: Tensor) -> Tensor:
    """As many of the numbers as `value` has, in its shape."""
    return numbers[: value.numel()].view(value.shape)


def gradients_in_torchs_layout(module: nn.Module) -> Named:
    """The weights' gradients as torch.nn stacks them: put in the weights' places in a copy, which is then converted."""
    with torch.no_grad():
        twin = copy.deepcopy(module)
        for parameter, own in zip(twin.parameters(), module.parameters(), strict=True):
            if own.grad is None:
                raise RuntimeError(f"a weight of {type(module).__name__} got no gradient")
            parameter.copy_(own.grad)
        return weights_of(twin)


def weights_of(module: nn.Module) -> Named:
    """The weights as torch.nn names and stacks them."""
    if isinstance(module, EncoderAsTorch):
        return module.named_weights()
    if not isinstance(module, Recurrence):
        return dict(module.named_parameters())
    packed = module.to_packed()
    if "weight_l0" in dict(module.named_parameters()):  # a single matrix: its one bias is bias_ih
        packed = {name: weight for name, weight in packed.items() if not name.startswith("bias_hh")}
    return packed


def of_numpy(stack: numpy_reference.Stack, x: Tensor, state: State, wanted: list[Tensor]) -> Compared:
    """The same for the NumPy reference."""
    outputs, last, tapes = stack.forward(x.numpy(), tuple(s.numpy() for s in state))
    values = [torch.from_numpy(value) for value in (outputs, *last)]
    d_outputs, *d_last = (shaped_like(value, weight).numpy() for value, weight in zip(values, wanted, strict=True))
    d_x, d_state, gradients = stack.backward(d_outputs, tuple(d_last), tapes)
    named = {name: torch.from_numpy(gradient) for name, gradient in gradients.items()}
    named |= {f"input {k}": torch.from_numpy(d) for k, d in enumerate((d_x, *d_state))}
    return {str(k): value for k, value in enumerate(values)}, named


def load(ours: Any, theirs: nn.Module) -> None:
    """Give `ours` the weights of `theirs`."""
    weights = theirs.state_dict()
    if isinstance(ours, numpy_reference.Stack):
        for name, weight in ours.weights.items():
            weight[...] = weights[name].numpy()
    elif isinstance(ours, Recurrence):
        ours.load_packed(weights)
    elif isinstance(ours, EncoderAsTorch):
        with torch.no_grad():
            for name, weight in ours.named_weights().items():
                weight.copy_(weights[name])
    else:
        ours.load_state_dict(weights, strict=True)


# ---- comparing -------------------------------------------------------------------------------------------------------


def difference(ours: Named, theirs: Named) -> float:
    """The largest difference, relative to the largest number of its tensor where that is above 1."""
    worst = 0.0
    for name, value in ours.items():
        expected = theirs[name]
        if value.shape != expected.shape:
            raise ValueError(f"{name} has shape {tuple(value.shape)}, not {tuple(expected.shape)}")
        scale = max(1.0, expected.abs().max().item())
        gap = (value - expected).abs().max().item() / scale
        worst = max(worst, gap if gap == gap else float("inf"))  # a NaN is as far away as can be
    return worst


def compare(case: Case, sizes: Sizes) -> Row:
    """The largest differences of one case over both precisions and all draws."""
    found: dict[str, Any] = {}
    counts = 0, 0
    reference = ""
    for precision in ("float32", "float64"):
        dtype = getattr(torch, precision)
        torch.set_default_dtype(dtype)
        for draw in range(sizes.draws):
            torch.manual_seed(100 + draw)
            ours, theirs = case.ours(), case.theirs()
            load(ours, theirs)
            x = torch.randn(sizes.T, sizes.B, sizes.E)
            first = initial_state(theirs, sizes.B)
            state = first if case.given_state else None
            enough = 2 * (sizes.T + 3) * sizes.B * sizes.H
            wanted = [torch.randn(enough) for _ in range(1 + len(first))]
            if isinstance(ours, numpy_reference.Stack):
                one = of_numpy(ours, x, first, wanted)
                counts = sum(weight.size for weight in ours.weights.values()), count(theirs)
            else:
                one = of_module(ours, case, x, state, wanted)
                counts = count(ours), count(theirs)
            other = of_module(theirs, case, x, state, wanted)
            home = "torch.nn" if type(theirs).__module__.startswith("torch") else "unrolled"
            reference = f"{home}.{type(theirs).__name__}"
            for kind, a, b in zip(("values", "gradients"), one, other, strict=True):
                key = f"{kind}_{precision}"
                found[key] = max(found.get(key, 0.0), difference(a, b))
    torch.set_default_dtype(torch.float32)
    return Row(case.network, reference, case.option, *counts, **found)


def count(module: nn.Module) -> int:
    """Number of weights."""
    return sum(parameter.numel() for parameter in module.parameters())


def state_parts(module: nn.Module) -> int:
    """Two for an LSTM, h and c; one for the others."""
    return 2 if "LSTM" in getattr(module, "mode", type(module).__name__) else 1


def initial_state(module: Any, batch_size: int) -> State:
    """A random first state in torch.nn's form, batch on dimension 1."""
    rows = getattr(module, "num_layers", 1) * (2 if getattr(module, "bidirectional", False) else 1)
    h = torch.randn(rows, batch_size, getattr(module, "proj_size", 0) or module.hidden_size)
    return (h,) if state_parts(module) == 1 else (h, torch.randn(rows, batch_size, module.hidden_size))


# ---- tables ----------------------------------------------------------------------------------------------------------

MEASURED = ("values f32", "gradients f32", "values f64", "gradients f64")
COLUMNS = ("network", "compared with", "option", "parameters", *MEASURED)


def texts_of(row: Row) -> list[str]:
    """A row as text; both parameter counts where they differ."""
    same = row.parameters == row.parameters_of_reference
    counts = f"{row.parameters:,}" if same else f"{row.parameters:,} ({row.parameters_of_reference:,})"
    numbers = (row.values_float32, row.gradients_float32, row.values_float64, row.gradients_float64)
    return [row.network, row.reference, row.option, counts, *("0" if n == 0 else f"{n:.1e}" for n in numbers)]


def table(rows: list[Row]) -> StudyTable:
    """A line per comparison."""
    return StudyTable(COLUMNS, [texts_of(row) for row in rows], names=3)


def too_far(rows: list[Row]) -> list[str]:
    """The rows that exceed the tolerance of their precision."""
    found = []
    for row in rows:
        for precision, tolerance in TOLERANCE.items():
            for kind in ("values", "gradients"):
                gap = getattr(row, f"{kind}_{precision}")
                if not gap <= tolerance:
                    found.append(f"{row.network}, {row.option}: {kind} in {precision} differ by {gap:.1e}")
    return found


def report(rows: list[Row], sizes: Sizes) -> Report:
    """The table and how it was made; at fault is what differs by more than the tolerance."""
    about = {"numpy": np.__version__, "sizes": asdict(sizes), "tolerance": TOLERANCE}
    text = f"Measured with torch {torch.__version__}, {sizes}."
    return Report(table(rows), rows, text, about, csv=True, faults=too_far(rows))


def study(arguments: argparse.Namespace) -> Report:
    """Compare and report."""
    sizes = Sizes(T=7, B=3, E=4, H=5, P=2, draws=1) if arguments.quick else Sizes()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message="LSTM with projections is not supported with oneDNN")
    started = time.perf_counter()
    found = report([compare(case, sizes) for case in cases(sizes)], sizes)
    seconds = time.perf_counter() - started
    print(f"{len(found.rows)} comparisons in {seconds:.0f} s, {len(found.faults)} beyond {TOLERANCE}")
    return found


if __name__ == "__main__":
    run_study(
        __file__,
        study,
        description="Largest difference of every handwritten recurrence to torch.nn.",
        quick="short sequences, small sizes, one draw",
        trains=False,
    )
