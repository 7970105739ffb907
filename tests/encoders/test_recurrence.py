"""Our recurrences against torch.nn's: values, states and gradients, over all options."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

import unrolled

E, H, P, B, T = 3, 5, 2, 4, 6  # all different, so that a transposed axis fails

PAIRS: dict[str, tuple[Callable[..., nn.Module], Callable[..., nn.Module]]] = {
    "rnn_tanh": (unrolled.RNN, nn.RNN),
    "rnn_relu": (
        lambda *a, **k: unrolled.RNN(*a, nonlinearity="relu", **k),
        lambda *a, **k: nn.RNN(*a, nonlinearity="relu", **k),
    ),
    "lstm": (unrolled.LSTM, nn.LSTM),
    "lstmp": (lambda *a, **k: unrolled.LSTM(*a, proj_size=P, **k), lambda *a, **k: nn.LSTM(*a, proj_size=P, **k)),
    "gru": (unrolled.GRU, nn.GRU),
}
KINDS = pytest.mark.parametrize("kind", PAIRS)


def twins(kind: str, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
    """Ours and torch's module with the same weights, because with the same seed."""
    both = []
    for make in PAIRS[kind]:
        torch.manual_seed(0)
        both.append(make(*args, **kwargs))
    return both[0], both[1]


def states(module: nn.Module, batch: int | None, dtype: torch.dtype = torch.float32) -> Any:
    """A random initial state in torch's form, with gradients."""
    layers = module.num_layers * (2 if module.bidirectional else 1)
    sizes = [module.proj_size or H, H] if isinstance(module, nn.LSTM) else [H]
    shape = (layers,) if batch is None else (layers, batch)
    made = tuple(torch.randn(*shape, size, dtype=dtype, requires_grad=True) for size in sizes)
    return made if len(made) > 1 else made[0]


def flat(state: Any) -> tuple[Tensor, ...]:
    return state if isinstance(state, tuple) else (state,)


def everything(module: nn.Module, x: Any, hx: Any) -> dict[str, Tensor]:
    """Outputs, last states, and the gradients of a random projection of both by input, state and every weight."""
    y, state = module(x, hx)
    y = y.data if isinstance(y, PackedSequence) else y
    results = {"outputs": y} | {f"state {i}": s for i, s in enumerate(flat(state))}
    generator = torch.Generator().manual_seed(1)
    loss = sum((v * torch.randn(v.shape, generator=generator, dtype=v.dtype)).sum() for v in results.values())
    inputs = {"input": x.data if isinstance(x, PackedSequence) else x}
    inputs |= {f"initial state {i}": s for i, s in enumerate(flat(hx))} if hx is not None else {}
    inputs |= dict(module.named_parameters())
    gradients = torch.autograd.grad(loss, list(inputs.values()))
    return results | {f"gradient of {name}": g for name, g in zip(inputs, gradients, strict=True)}


def assert_equal(ours: dict[str, Tensor], theirs: dict[str, Tensor], tolerance: float) -> None:
    """Relative to the largest value of each tensor."""
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        assert ours[name].shape == value.shape, name
        assert ours[name].dtype == value.dtype, name
        scale = max(1.0, value.abs().max().item()) if value.numel() else 1.0
        worst = (ours[name] - value).abs().max().item() if value.numel() else 0.0
        assert worst <= tolerance * scale, f"{name} differs by {worst}"


@settings(max_examples=120, deadline=None)
@given(
    kind=st.sampled_from(sorted(PAIRS)),
    num_layers=st.integers(1, 3),
    bias=st.booleans(),
    bidirectional=st.booleans(),
    form=st.sampled_from(["time first", "batch first", "unbatched", "packed sorted", "packed unsorted"]),
    with_state=st.booleans(),
    double=st.booleans(),
    steps=st.integers(1, 9),
    batch=st.integers(1, 5),
    seed=st.integers(0, 1000),
)
def test_values_states_and_all_gradients_equal_torch(
    kind: str,
    num_layers: int,
    bias: bool,
    bidirectional: bool,
    form: str,
    with_state: bool,
    double: bool,
    steps: int,
    batch: int,
    seed: int,
) -> None:
    dtype = torch.float64 if double else torch.float32
    options = {"num_layers": num_layers, "bias": bias, "bidirectional": bidirectional, "dtype": dtype}
    ours, theirs = twins(kind, E, H, batch_first=form == "batch first", **options)
    torch.manual_seed(seed)
    shape = {"unbatched": (steps, E), "batch first": (batch, steps, E)}.get(form, (steps, batch, E))
    x: Any = torch.randn(shape, dtype=dtype, requires_grad=True)
    if form.startswith("packed"):
        lengths = torch.randint(1, steps + 1, (batch,))
        lengths[seed % batch] = steps
        lengths = lengths.sort(descending=True).values if form == "packed sorted" else lengths
        x = pack_padded_sequence(x, lengths, enforce_sorted=form == "packed sorted")
    hx = states(theirs, None if form == "unbatched" else batch, dtype) if with_state else None
    assert_equal(everything(ours, x, hx), everything(theirs, x, hx), 1e-10 if double else 1e-5)


@KINDS
@pytest.mark.parametrize("bidirectional", [False, True])
def test_reading_chunks_with_carried_state_equals_one_pass(kind: str, bidirectional: bool) -> None:
    """Forward in time, what is handed on is all that the next chunk needs."""
    ours, _ = twins(kind, E, H, num_layers=2)
    x = torch.randn(T, B, E)
    whole, last = ours.read(x, ours.initial_state(B))
    first, state = ours.read(x[:2], ours.initial_state(B))
    kept = [s.clone() for s in state]
    second, state = ours.read(x[2:], state)
    torch.testing.assert_close(torch.cat([first, second]), whole)
    torch.testing.assert_close(state, last)
    again, _ = ours.read(x[2:], tuple(kept))
    assert torch.equal(again, second), "reading must not change the state it is given"
    assert not torch.allclose(ours.read(x[2:], ours.initial_state(B))[0], second), "carried state is ignored"
    torch.testing.assert_close(ours(x)[0], whole)
