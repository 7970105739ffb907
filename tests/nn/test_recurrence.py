"""Our recurrences against torch.nn's: values, states and gradients, over all options."""

import copy
import pickle
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils import prune
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

import unrolled
from unrolled.nn.cells import MGUCell
from unrolled.nn.engines.fused import version

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


@pytest.fixture(params=["eager", "auto"], autouse=True)
def _engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test runs with each engine: `auto` is `fused` wherever that can be had."""
    monkeypatch.setattr(sys.modules[__name__], "ENGINE", request.param)


ENGINE = "auto"


def twins(kind: str, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
    """Ours and torch's module with the same weights, because with the same seed."""
    both = []
    for make, engine in zip(PAIRS[kind], ({"engine": ENGINE}, {}), strict=True):
        torch.manual_seed(0)
        both.append(make(*args, **kwargs, **engine))
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


@settings(max_examples=300, deadline=None)
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
def test_reading_chunks_with_carried_state_equals_one_pass(kind: str) -> None:
    """Forward in time, what is handed on is all that the next chunk needs."""
    ours, _ = twins(kind, E, H, num_layers=2)
    x = torch.randn(T, B, E)
    whole, last = ours(x)
    first, state = ours(x[:2])
    kept = tuple(s.clone() for s in state) if isinstance(state, tuple) else state.clone()
    second, state = ours(x[2:], state)
    torch.testing.assert_close(torch.cat([first, second]), whole)
    torch.testing.assert_close(state, last)
    again, _ = ours(x[2:], kept)
    assert torch.equal(again, second), "reading must not change the state it is given"
    assert not torch.allclose(ours(x[2:])[0], second), "carried state is ignored"


@KINDS
@pytest.mark.parametrize("packed", [False, True], ids=["dense", "packed"])
def test_in_training_the_same_seed_drops_the_same_elements_as_torch(kind: str, packed: bool) -> None:
    ours, theirs = twins(kind, E, H, num_layers=3, dropout=0.4, bidirectional=True)
    x: Any = torch.randn(T, B, E)
    x = pack_padded_sequence(x, torch.tensor([2, T, 1, T]), enforce_sorted=False) if packed else x
    results = []
    for module in (ours, theirs):
        torch.manual_seed(3)
        y, state = module(x)
        results.append((y.data if packed else y, flat(state)))
    torch.testing.assert_close(results[0], results[1])
    dropped, kept = results[0][0], ours.eval()(x)[0]
    assert not torch.allclose(dropped, kept.data if packed else kept), "nothing was dropped"


@KINDS
@pytest.mark.parametrize("p", [0.0, 1.0])
def test_dropout_of_nothing_and_of_everything_equal_torch(kind: str, p: float) -> None:
    ours, theirs = twins(kind, E, H, num_layers=2, dropout=p)
    x = torch.randn(T, B, E)
    torch.testing.assert_close(ours(x), theirs(x))


def test_between_layers_the_stated_share_is_dropped_and_the_rest_scaled_and_none_after_the_last() -> None:
    """An identity RNN whose weights let the input through: the second layer's output is the mask times the input."""
    p, n = 0.3, 100
    net = unrolled.RNN(n, n, 2, "identity", bias=False, dropout=p)
    with torch.no_grad():
        for layer in range(2):
            getattr(net, f"weight_ih_l{layer}").copy_(torch.eye(n))
            getattr(net, f"weight_hh_l{layer}").zero_()
    y, _ = net(torch.ones(40, 5, n))
    kept = y != 0
    torch.testing.assert_close(y[kept], torch.full_like(y[kept], 1 / (1 - p)))
    assert abs(kept.float().mean().item() - (1 - p)) < 0.015  # five standard deviations of 20,000 draws
    assert not torch.equal(y[0], y[1]), "drawn for each step"


@KINDS
def test_state_dicts_go_both_ways_and_attributes_agree(kind: str) -> None:
    ours, theirs = twins(kind, E, H, 2, bidirectional=True)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    with torch.no_grad():
        for weight in theirs.parameters():
            weight.add_(1.0)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    theirs.load_state_dict(ours.state_dict(), strict=True)
    for a, b in zip(ours.all_weights, theirs.all_weights, strict=True):
        for w_ours, w_theirs in zip(a, b, strict=True):
            assert torch.equal(w_ours, w_theirs)
    assert repr(ours).replace(", engine=eager", "") == repr(theirs)
    assert list(ours.modules()) == [ours]
    names = ["mode", "input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout", "bidirectional"]
    for name in [*names, "proj_size"]:
        assert getattr(ours, name) == getattr(theirs, name), name
    ours.flatten_parameters()


@KINDS
def test_the_same_seed_gives_the_same_weights_also_when_drawn_anew(kind: str) -> None:
    ours, theirs = twins(kind, E, H, 3, bias=False, bidirectional=True)
    for _ in range(2):
        for (name, w_ours), w_theirs in zip(ours.named_parameters(), theirs.parameters(), strict=True):
            assert torch.equal(w_ours, w_theirs), name
        for module in (ours, theirs):
            torch.manual_seed(9)
            module.reset_parameters()


@KINDS
def test_copies_and_pickles_compute_the_same_and_share_nothing(kind: str) -> None:
    ours, _ = twins(kind, E, H, 2, bidirectional=True)
    x = torch.randn(T, B, E)
    wanted = ours(x)[0].detach()
    for other in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):  # noqa: S301
        assert torch.equal(other(x)[0], wanted)
        with torch.no_grad():
            other.weight_hh_l0.zero_()
        assert torch.equal(ours(x)[0], wanted)


@KINDS
@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_other_dtypes_agree_with_torch(kind: str, dtype: torch.dtype) -> None:
    ours, theirs = twins(kind, E, H, 2)
    ours, theirs = ours.to(dtype), theirs.to(dtype)
    x = torch.randn(T, B, E).to(dtype)
    torch.testing.assert_close(ours(x), theirs(x), atol=2e-2 if dtype != torch.float64 else 1e-10, rtol=0)


@KINDS
def test_on_the_meta_device_shapes_are_those_of_torch(kind: str) -> None:
    ours, theirs = (m.to("meta") for m in twins(kind, E, H, 2, bidirectional=True, batch_first=True))
    x = torch.randn(B, T, E, device="meta")
    (y_ours, s_ours), (y_theirs, s_theirs) = ours(x), theirs(x)
    assert y_ours.shape == y_theirs.shape
    assert y_ours.device.type == "meta"
    assert [s.shape for s in flat(s_ours)] == [s.shape for s in flat(s_theirs)]
    assert PAIRS[kind][0](E, H, device="meta").weight_hh_l0.device.type == "meta"


@KINDS
def test_an_empty_batch_gives_empty_outputs_as_in_torch(kind: str) -> None:
    ours, theirs = twins(kind, E, H)
    x = torch.randn(T, 0, E)
    assert ours(x)[0].shape == theirs(x)[0].shape
    assert [s.shape for s in flat(ours(x)[1])] == [s.shape for s in flat(theirs(x)[1])]


@KINDS
def test_weights_are_read_at_every_call(kind: str) -> None:
    """Replaced, tied and pruned weights, and plain tensors in their place, are what the next call uses."""
    ours, theirs = twins(kind, E, H, 2)
    x = torch.randn(T, B, E)
    before = ours(x)[0]
    for module in (ours, theirs):
        module.weight_hh_l0 = nn.Parameter(module.weight_hh_l0.detach() * 2)
        module.weight_hh_l1 = module.weight_hh_l0  # tied
        prune.l1_unstructured(module, "weight_ih_l0", amount=0.5)
    torch.testing.assert_close(ours(x), theirs(x))
    assert not torch.allclose(ours(x)[0], before)
    kept = ours.weight_hh_l1.detach().clone()
    del ours.weight_hh_l1
    ours.weight_hh_l1 = kept * 0
    changed = ours(x)[0]
    ours.weight_hh_l1 = kept
    torch.testing.assert_close(ours(x), theirs(x))
    assert not torch.allclose(changed, ours(x)[0])


@KINDS
def test_recurrent_weights_can_be_parametrized(kind: str) -> None:
    """Spectral normalisation of U: what the loop multiplies by has a largest singular value of one."""
    ours, theirs = twins(kind, E, H)
    nn.utils.parametrizations.spectral_norm(ours, "weight_hh_l0", n_power_iterations=200)
    ours.eval()
    with torch.no_grad():
        theirs.weight_hh_l0.div_(torch.linalg.matrix_norm(theirs.weight_hh_l0, 2))
    x = torch.randn(T, B, E)
    torch.testing.assert_close(ours(x), theirs(x), atol=1e-5, rtol=1e-4)
    ours(x)[0].sum().backward()
    assert ours.parametrizations.weight_hh_l0.original.grad.abs().sum() > 0


@KINDS
def test_functional_calls_and_their_gradients_equal_backward(kind: str) -> None:
    ours, theirs = twins(kind, E, H, 2)
    x = torch.randn(T, B, E)
    weights = {name: w.detach() * 1.5 for name, w in ours.named_parameters()}

    def loss(weights: dict[str, Tensor]) -> Tensor:
        return torch.func.functional_call(ours, weights, (x,))[0].square().sum()

    gradients = torch.func.grad(loss)(weights)
    theirs.load_state_dict(weights)
    theirs(x)[0].square().sum().backward()
    for name, weight in theirs.named_parameters():
        torch.testing.assert_close(gradients[name], weight.grad, msg=name)


@KINDS
def test_gradients_can_be_differentiated_again(kind: str) -> None:
    if kind == "rnn_relu":
        kind = "rnn_tanh"  # at a kink there is no second derivative to check
    ours, _ = twins(kind, 2, 3, dtype=torch.float64)
    x = torch.randn(3, 1, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda x: ours(x)[0], (x,))


@KINDS
def test_compiled_values_and_gradients_equal_eager(kind: str) -> None:
    """The compiler is given the loop whole: no graph break on the way."""
    torch._dynamo.reset()  # or the nets of other tests count as recompilations
    net, _ = twins(kind, E, H)
    x = torch.randn(3, B, E)
    fast = torch.compile(net, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(fast(x), net(x))
    slow_gradient = torch.autograd.grad(net(x)[0].sum(), net.weight_hh_l0)
    torch.testing.assert_close(torch.autograd.grad(fast(x)[0].sum(), net.weight_hh_l0), slow_gradient)


@KINDS
def test_under_bfloat16_autocast_the_state_stays_in_float32(kind: str) -> None:
    """Eager makes products in bfloat16, and what is summed up over the steps is not; fused stays in float32."""
    ours, _ = twins(kind, E, H, 2, bidirectional=True)
    x = torch.randn(T, B, E)
    exact = ours(x)
    with torch.autocast("cpu", torch.bfloat16):
        y, state = ours(x)
        from_lower = ours(x.bfloat16(), None)[1]
    assert {s.dtype for s in (*flat(state), *flat(from_lower))} == {torch.float32}
    torch.testing.assert_close((y, state), exact, atol=3e-2, rtol=0)
    assert torch.equal(y, exact[0]) == (ENGINE == "auto"), "products of eager are made in bfloat16"


@KINDS
def test_the_engine_that_ran_can_be_asked_for(kind: str) -> None:
    ours, _ = twins(kind, E, H)
    assert ours.engines_run == set()
    ours(torch.randn(T, B, E))
    (ran,) = ours.engines_run
    assert ran == ("eager" if ENGINE == "eager" else f"fused ({version()})")


def test_an_engine_that_cannot_be_had_is_refused() -> None:
    with pytest.raises(ValueError, match="engine must be one of auto, eager, fused, got 'turbo'"):
        unrolled.GRU(E, H, engine="turbo")
    with pytest.raises(ValueError, match=r"engine=fused: it has the equations of .* not those of MGUCell"):
        unrolled.Recurrence(MGUCell, E, H, engine="fused")
    with pytest.raises(RuntimeError, match=r"engine=fused: .* meta; choose engine=auto"):
        unrolled.GRU(E, H, engine="fused", device="meta")(torch.randn(T, B, E, device="meta"))


@KINDS
def test_second_derivatives_are_torchs(kind: str) -> None:
    """Of a loss of the input's gradient by every weight."""
    found = []
    for net in twins(kind, E, H, dtype=torch.float64):
        torch.manual_seed(1)
        x = torch.randn(T, B, E, dtype=torch.float64, requires_grad=True)
        (gradient,) = torch.autograd.grad(net(x)[0].square().sum(), x, create_graph=True)
        found.append([gradient, *torch.autograd.grad(gradient.square().sum(), list(net.parameters()))])
    assert all(value.any() for value in found[0])
    torch.testing.assert_close(*found, rtol=0, atol=1e-9)
