"""The hand-derived backward against torch.nn and the eager unroll: its native and its Python version."""

import copy
import shutil
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import unrolled
from unrolled.nn.engines import by_hand, native, reference
from unrolled.nn.engines.fused import Version, fused, unsupported, version

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}


class Case(NamedTuple):
    kind: str
    K: int = 6
    B: int = 5
    E: int = 7
    H: int = 21
    P: int = 0
    bias: bool = True
    nonlinearity: str = "tanh"

    def module(self, dtype: torch.dtype, library: Any = nn) -> nn.Module:
        options: dict[str, Any] = {"proj_size": self.P} if self.P else {}
        if self.kind == "RNN":
            options["nonlinearity"] = self.nonlinearity
        torch.manual_seed(1)
        return getattr(library, self.kind)(self.E, self.H, bias=self.bias, dtype=dtype, **options)

    def data(self, dtype: torch.dtype) -> tuple[Tensor, tuple[Tensor, ...]]:
        generator = torch.Generator().manual_seed(2)
        sizes = [self.P or self.H, self.H] if self.kind == "LSTM" else [self.H]
        x, *state = (
            torch.randn(*shape, dtype=dtype, generator=generator, requires_grad=True)
            for shape in ((self.K, self.B, self.E), *((self.B, size) for size in sizes))
        )
        return x, tuple(state)


CASES = [
    Case("RNN"),
    Case("RNN", nonlinearity="relu"),
    Case("LSTM"),
    Case("LSTM", P=5),
    Case("GRU"),
    Case("RNN", K=1),
    Case("LSTM", K=1, P=20),
    Case("GRU", K=1),
    Case("RNN", B=1, bias=False),
    Case("LSTM", B=1),
    Case("LSTM", B=1, P=3, bias=False),
    Case("GRU", B=1, bias=False),
    Case("RNN", B=33, H=64, E=1),
    Case("LSTM", B=33, H=64, E=1),
    Case("LSTM", B=20, H=80, P=48),
    Case("GRU", B=33, H=64, E=1),
    Case("RNN", H=1),
    Case("LSTM", H=1),
    Case("GRU", H=1),
    Case("RNN", K=40, B=3, H=130),
    Case("LSTM", K=40, B=3, H=130, P=70),
    Case("GRU", K=40, B=3, H=130),
]


def name(value: Any) -> str:
    if isinstance(value, Case):
        return value.kind + "".join(f"-{k}{v}" for k, v in value._asdict().items() if v != getattr(Case(""), k))
    return str(value).removeprefix("torch.")


@pytest.fixture(params=[("native", "one block"), ("native", "many blocks"), ("python", "many blocks")], ids=" ".join)
def which(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Version:
    version, blocks = request.param
    if version == "native" and native.reason_missing():
        pytest.skip(native.reason_missing())
    if blocks == "many blocks":
        monkeypatch.setattr(by_hand, "BLOCK_BYTES", 5_000)  # between 1 and 6 steps of the small cases below
    return version


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def weights_of(module: nn.Module) -> dict[str, Tensor]:
    return {name.removesuffix("_l0"): weight for name, weight in module.named_parameters()}


def run_module(module: nn.Module, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    hx = tuple(s.unsqueeze(0) for s in state)
    outputs, after = module(x, hx if len(hx) > 1 else hx[0])
    after = after if isinstance(after, tuple) else (after,)
    return outputs, *(s.squeeze(0) for s in after)


def run_fused(
    case: Case, module: nn.Module, x: Tensor, state: tuple[Tensor, ...], which: Version, reverse: bool = False
) -> tuple[Tensor, ...]:
    outputs, after = fused(case.kind, x, state, weights_of(module), case.nonlinearity, reverse, version=which)
    return outputs, *after


def gradients(results: tuple[Tensor, ...], inputs: list[Tensor]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(3)
    weighted = [(r * torch.randn(r.shape, dtype=r.dtype, generator=generator)).sum() for r in results]
    return list(torch.autograd.grad(sum(weighted), inputs, allow_unused=True, materialize_grads=True))


def assert_same(actual: list[Tensor], expected: list[Tensor], dtype: torch.dtype) -> None:
    for a, b in zip(actual, expected, strict=True):
        assert a.shape == b.shape
        scale = max(float(b.detach().abs().max()), 1.0)  # sums over steps and rows: tolerance in units of the largest
        torch.testing.assert_close(a, b, rtol=0, atol=TOLERANCE[dtype] * scale)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=name)
@pytest.mark.parametrize("case", CASES, ids=name)
def test_equals_torch_nn(case: Case, dtype: torch.dtype, which: Version) -> None:
    module = case.module(dtype)
    x, state = case.data(dtype)
    inputs = [x, *state, *module.parameters()]
    expected = run_module(module, x, state)
    actual = run_fused(case, module, x, state, which)
    assert_same(list(actual), list(expected), dtype)
    assert_same(gradients(actual, inputs), gradients(expected, inputs), dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=name)
@pytest.mark.parametrize("case", [*CASES[:5], Case("RNN", nonlinearity="identity")], ids=name)
def test_equals_the_eager_unroll(case: Case, dtype: torch.dtype, which: Version) -> None:
    module = case.module(dtype, unrolled)
    x, state = case.data(dtype)
    inputs = [x, *state, *module.parameters()]
    expected = run_module(module, x, state)
    actual = run_fused(case, module, x, state, which)
    assert_same(list(actual), list(expected), dtype)
    assert_same(gradients(actual, inputs), gradients(expected, inputs), dtype)


@pytest.mark.parametrize("case", [*CASES[:8], CASES[14]], ids=name)
def test_reverse_reads_from_the_end(case: Case, which: Version) -> None:
    module = case.module(torch.float64)
    x, state = case.data(torch.float64)
    inputs = [x, *state, *module.parameters()]
    outputs, *after = run_module(module, x.flip(0), state)
    expected = (outputs.flip(0), *after)
    actual = run_fused(case, module, x, state, which, reverse=True)
    assert_same(list(actual), list(expected), torch.float64)
    assert_same(gradients(actual, inputs), gradients(expected, inputs), torch.float64)


@pytest.mark.parametrize("case", CASES[:5], ids=name)
def test_gradcheck(case: Case, which: Version) -> None:
    case = case._replace(K=3, B=2, E=2, H=3, P=2 if case.P else 0)
    module = case.module(torch.float64)
    x, state = case.data(torch.float64)
    names, weights = zip(*weights_of(module).items(), strict=True)

    def function(x: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        given = dict(zip(names, rest[len(state) :], strict=True))
        outputs, after = fused(case.kind, x, rest[: len(state)], given, case.nonlinearity, version=which)
        return outputs, *after

    assert torch.autograd.gradcheck(function, (x, *state, *weights))


PARTS: dict[str, Callable[[tuple[Tensor, ...]], tuple[Tensor, ...]]] = {
    "outputs only": lambda results: results[:1],
    "last state only": lambda results: results[1:],
    "last of the state's tensors only": lambda results: results[-1:],
    "sum over time": lambda results: (results[0].sum(0),),  # its gradient has stride 0
    "transposed": lambda results: (results[0].permute(2, 1, 0).contiguous(),),
    "one step": lambda results: (results[0][2],),
}


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("case", CASES[:5], ids=name)
def test_gradient_of_a_part_of_the_results(case: Case, part: str, which: Version) -> None:
    module = case.module(torch.float64)
    x, state = case.data(torch.float64)
    inputs = [x, *state, *module.parameters()]
    expected = gradients(PARTS[part](run_module(module, x, state)), inputs)
    assert_same(gradients(PARTS[part](run_fused(case, module, x, state, which)), inputs), expected, torch.float64)


@pytest.mark.parametrize("case", CASES[:5], ids=name)
def test_inputs_may_lie_in_memory_as_they_like(case: Case, which: Version) -> None:
    module = case.module(torch.float64)
    x, state = case.data(torch.float64)
    wide = copy.deepcopy(module)
    for weight_name, weight in module.named_parameters():
        strided = torch.stack([weight, weight], dim=-1)[..., 0].detach()  # every second number
        setattr(wide, weight_name, nn.Parameter(strided))
    batch_first = x.detach().transpose(0, 1).contiguous().transpose(0, 1).requires_grad_()
    columns = tuple(s.detach().t().contiguous().t().requires_grad_() for s in state)
    expected = run_fused(case, module, x, state, which)
    actual = run_fused(case, wide, batch_first, columns, which)
    assert_same(list(actual), list(expected), torch.float64)
    assert_same(
        gradients(actual, [batch_first, *columns, *wide.parameters()]),
        gradients(expected, [x, *state, *module.parameters()]),
        torch.float64,
    )


@pytest.mark.parametrize("case", CASES[:5], ids=name)
def test_the_first_state_of_all_rows_may_be_one_expanded(case: Case, which: Version) -> None:
    module = case.module(torch.float64)
    x, state = case.data(torch.float64)
    one = tuple(s.detach()[:1].clone().requires_grad_() for s in state)
    same = tuple(s.expand(case.B, -1) for s in one)
    expected = gradients(run_module(module, x, same), list(one))
    assert_same(gradients(run_fused(case, module, x, same, which), list(one)), expected, torch.float64)


@pytest.mark.parametrize("case", CASES[:5], ids=name)
@pytest.mark.parametrize("wanted", range(8))
def test_each_gradient_alone(case: Case, wanted: int, which: Version) -> None:
    module = case.module(torch.float64)
    x, state = case.data(torch.float64)
    inputs = [x, *state, *module.parameters()]
    if wanted >= len(inputs):
        pytest.skip("it has fewer inputs")
    for i, tensor in enumerate(inputs):
        tensor.requires_grad_(i == wanted)
    expected = gradients(run_module(module, x, state), [inputs[wanted]])
    assert_same(gradients(run_fused(case, module, x, state, which), [inputs[wanted]]), expected, torch.float64)


@pytest.mark.parametrize("case", CASES[:5], ids=name)
def test_without_gradients_the_same_numbers(case: Case, which: Version) -> None:
    module = case.module(torch.float32)
    x, state = case.data(torch.float32)
    expected = run_fused(case, module, x, state, which)
    with torch.no_grad():
        actual = run_fused(case, module, x, state, which)
    assert all(torch.equal(a, b) and not a.requires_grad for a, b in zip(actual, expected, strict=True))


@pytest.mark.parametrize("rows", [1, 4])
@pytest.mark.parametrize("case", [*CASES[:5], CASES[10], CASES[11], Case("RNN", nonlinearity="identity")], ids=name)
def test_one_step_without_gradients(case: Case, rows: int, which: Version) -> None:
    case = case._replace(K=1, B=rows)
    module = case.module(torch.float64, unrolled)
    x, state = case.data(torch.float64)
    before = [tensor.detach().clone() for tensor in (x, *state)]
    expected = run_fused(case, module, x, state, which)
    with torch.no_grad():
        outputs, *after = run_fused(case, module, x, state, which)
    assert_same([outputs, *after], list(expected), torch.float64)
    assert all(map(torch.equal, (x, *state), before))
    assert all(tensor.untyped_storage().nbytes() == tensor.numel() * 8 for tensor in (outputs, *after))


@pytest.mark.parametrize("case", CASES[:5], ids=name)
def test_arguments_are_left_alone_and_a_kept_graph_gives_the_same_gradients_twice(case: Case, which: Version) -> None:
    module = case.module(torch.float32)
    x, state = case.data(torch.float32)
    inputs = [x, *state, *module.parameters()]
    before = [tensor.detach().clone() for tensor in inputs]
    results = run_fused(case, module, x, state, which)
    grads = [torch.randn_like(r) for r in results]
    given = [g.clone() for g in grads]
    first = torch.autograd.grad(results, inputs, grads, retain_graph=True)
    second = torch.autograd.grad(results, inputs, grads)
    assert all(map(torch.equal, first, second))
    assert all(map(torch.equal, grads, given))
    assert all(map(torch.equal, inputs, before))


@pytest.mark.parametrize("case", CASES[:5], ids=name)
def test_results_changed_in_place_before_the_backward_are_noticed(case: Case, which: Version) -> None:
    module = case.module(torch.float32)
    x, state = case.data(torch.float32)
    outputs, *_ = run_fused(case, module, x, state, which)
    loss = outputs.sum()
    with torch.no_grad():
        outputs.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.parametrize("case", CASES[:5], ids=name)
def test_the_last_state_is_memory_of_its_own(case: Case, which: Version) -> None:
    module = case.module(torch.float32)
    x, state = case.data(torch.float32)
    outputs, h, *_ = run_fused(case, module, x, state, which)
    assert h.untyped_storage().nbytes() == h.numel() * 4  # or a carried state would keep a whole chunk
    with torch.no_grad():
        h.zero_()
    outputs.sum().backward()
    assert outputs[-1].abs().max() > 0


@pytest.mark.parametrize("case", CASES[:5], ids=name)
def test_an_empty_batch(case: Case, which: Version) -> None:
    case = case._replace(B=0)
    module = case.module(torch.float32)
    x, state = case.data(torch.float32)
    results = run_fused(case, module, x, state, which)
    assert results[0].shape == (case.K, 0, case.P or case.H)
    for gradient in gradients(results, [x, *state, *module.parameters()]):
        assert gradient.eq(0).all()


@pytest.mark.parametrize("case", CASES[:5], ids=name)
def test_two_threads_equal_one(case: Case, two_threads: None) -> None:
    if native.reason_missing():
        pytest.skip(native.reason_missing())
    case = case._replace(K=60, B=23, H=100, P=40 if case.P else 0)  # enough work for both
    module = case.module(torch.float64)
    x, state = case.data(torch.float64)
    inputs = [x, *state, *module.parameters()]
    both = run_fused(case, module, x, state, "native")
    both_gradients = gradients(both, inputs)
    torch.set_num_threads(1)
    one = run_fused(case, module, x, state, "native")
    assert_same(list(both), list(one), torch.float64)
    assert_same(both_gradients, gradients(one, inputs), torch.float64)


@pytest.mark.parametrize("case", CASES[:5], ids=name)
def test_rows_do_not_depend_on_their_neighbours(case: Case, which: Version) -> None:
    case = case._replace(B=40)
    module = case.module(torch.float64)
    x, state = case.data(torch.float64)
    outputs, *_ = run_fused(case, module, x, state, which)
    for rows in (slice(0, 1), slice(7, 30)):
        part, *_ = run_fused(case, module, x[:, rows], tuple(s[rows] for s in state), which)
        assert_same([part], [outputs[:, rows]], torch.float64)


def test_calls_from_several_threads_at_once() -> None:
    """What each computes is its own: nothing is kept between calls."""
    if native.reason_missing():
        pytest.skip(native.reason_missing())
    case = Case("LSTM", P=5, K=20)
    module = case.module(torch.float64)
    x, state = case.data(torch.float64)
    expected = run_fused(case, module, x, state, "native")
    results: list[tuple[Tensor, ...]] = []
    threads = [
        threading.Thread(target=lambda: results.extend(run_fused(case, module, x, state, "native") for _ in range(20)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 80
    assert all(map(torch.equal, result, expected) for result in results)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("case", CASES[:5], ids=name)
def test_what_is_not_a_number_stays_visible(case: Case, value: float, which: Version) -> None:
    module = case.module(torch.float32)
    x, state = case.data(torch.float32)
    with torch.no_grad():
        x[1, 2, 3] = value
    expected = run_module(module, x, state)[0].isnan()
    actual = run_fused(case, module, x, state, which)[0]
    assert torch.equal(actual.isnan(), expected)
    assert not actual[0].isnan().any()


@pytest.mark.parametrize("scale", [1e-3, 30.0, 1e4])
@pytest.mark.parametrize("case", CASES[:5], ids=name)
def test_small_and_saturated_gates(case: Case, scale: float, which: Version) -> None:
    if case.nonlinearity == "relu":
        pytest.skip("it does not saturate")
    module = case.module(torch.float32)
    x, state = case.data(torch.float32)
    x = (x.detach() * scale).requires_grad_()
    inputs = [x, *state, *module.parameters()]
    expected, actual = run_module(module, x, state), run_fused(case, module, x, state, which)
    assert_same(list(actual), list(expected), torch.float32)
    assert_same(gradients(actual, inputs), gradients(expected, inputs), torch.float32)


@pytest.mark.parametrize("case", CASES[:5], ids=name)
def test_bfloat16_autocast_computes_in_float32(case: Case, which: Version) -> None:
    module = case.module(torch.float32)
    x, state = case.data(torch.float32)
    low = x.detach().bfloat16().requires_grad_()
    inputs = [low, *state, *module.parameters()]
    expected = run_fused(case, module, low.float(), state, which)
    with torch.autocast("cpu", torch.bfloat16):
        assert not unsupported(low, state, weights_of(module))
        actual = run_fused(case, module, low, state, which)
        actual_gradients = gradients(actual, inputs)
    assert all(map(torch.equal, actual, expected))
    assert [g.dtype for g in actual_gradients] == [i.dtype for i in inputs]
    assert all(map(torch.equal, actual_gradients, gradients(expected, inputs)))


@pytest.mark.parametrize("case", CASES[:5], ids=name)
def test_a_second_derivative_is_refused_with_the_way_out(case: Case, which: Version) -> None:
    module = case.module(torch.float64)
    x, state = case.data(torch.float64)
    outputs, *_ = run_fused(case, module, x, state, which)
    with pytest.raises(RuntimeError, match=r"no second derivative.*engine eager"):
        torch.autograd.grad(outputs.sum(), x, create_graph=True)


def test_vanishing_gradients_become_zero_not_denormal() -> None:
    if native.reason_missing():
        pytest.skip(native.reason_missing())
    case = Case("RNN", K=400, E=21, nonlinearity="identity")
    module = case.module(torch.float32, unrolled)
    with torch.no_grad():
        module.weight_hh_l0.copy_(0.7 * torch.eye(case.H))
        module.weight_ih_l0.copy_(torch.eye(case.H))  # the gradient of x is that of the gates
    x, state = case.data(torch.float32)
    outputs, *_ = run_fused(case, module, x, state, "native")
    (gradient,) = torch.autograd.grad(outputs[-1].sum(), x)
    tiny = torch.finfo(torch.float32).tiny
    assert gradient[-1].abs().min() > 0
    assert (gradient[0] == 0).all()
    assert not ((gradient != 0) & (gradient.abs() < tiny)).any()
    assert torch.tensor(1e-39) / 2 > 0  # outside the engine numbers are as they were


def test_refuses_what_it_does_not_support() -> None:
    case = Case("LSTM", P=5)
    module = case.module(torch.float32)
    x, state = case.data(torch.float32)
    weights = weights_of(module)

    def reason(**changes: Any) -> str:
        given = {"x": x, "state": state, "weights": weights} | changes
        return unsupported(given["x"], given["state"], given["weights"])

    class Subclass(Tensor):
        pass

    assert reason() == ""
    assert "meta" in reason(x=x.to("meta"))
    assert "float64" in reason(x=x.double()) or "float32" in reason(x=x.double())
    assert "bfloat16" in reason(weights={n: w.bfloat16() for n, w in weights.items()})
    assert "differ" in reason(weights={**weights, "weight_ih": weights["weight_ih"].double()})
    assert "Subclass" in reason(x=x.as_subclass(Subclass))
    seen = []
    torch.func.vmap(lambda row: seen.append(reason(x=row)) or row)(x)
    with torch.autograd.forward_ad.dual_level():
        seen.append(reason())
    with FlopCounterMode(display=False):
        seen.append(reason())
    assert len(seen) == 3
    assert all(seen)


def test_native_code_runs_where_there_is_a_compiler() -> None:
    if shutil.which("c++") is None:
        pytest.skip("no compiler")
    assert native.reason_missing() == ""
    assert version() == "native"
    assert native.loops() is torch.ops.unrolled
    case = Case("LSTM")
    x, state = case.data(torch.float32)
    with torch.profiler.profile() as profile:
        fused("LSTM", x, state, weights_of(case.module(torch.float32)))[0].sum().backward()
    ran = {event.key for event in profile.key_averages()}
    assert {"unrolled::lstm_forward", "unrolled::lstm_backward"} <= ran


def test_both_versions_have_the_same_functions() -> None:
    if native.reason_missing():
        pytest.skip(native.reason_missing())
    loops = [f"{kind}_{direction}" for kind in ("rnn", "lstm", "gru") for direction in ("forward", "backward")]
    for name in ("pack", *loops):
        schema, python = getattr(torch.ops.unrolled, name).default._schema, getattr(reference, name)
        assert [a.name for a in schema.arguments] == list(python.__code__.co_varnames[: python.__code__.co_argcount])
