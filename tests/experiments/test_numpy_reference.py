"""The NumPy reference against torch.nn, against finite differences, and in training."""

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from experiments.parity import numpy_reference as ref
from torch import nn

T, B, E, H, P, L = 7, 3, 4, 5, 2, 2


def rnn(nonlinearity: str) -> tuple[Callable[..., ref.Recurrence], Callable[..., nn.RNNBase]]:
    def ours(size: int, rng: np.random.Generator, dtype: Any) -> ref.Recurrence:
        return ref.RNN(size, H, rng, nonlinearity, dtype)

    return ours, lambda layers: nn.RNN(E, H, layers, nonlinearity=nonlinearity)


KINDS: dict[str, tuple[Callable[..., ref.Recurrence], Callable[..., nn.RNNBase]]] = {
    "rnn_tanh": rnn("tanh"),
    "rnn_relu": rnn("relu"),
    "lstm": (lambda size, rng, dtype: ref.LSTM(size, H, rng, dtype), lambda layers: nn.LSTM(E, H, layers)),
    "lstmp": (
        lambda size, rng, dtype: ref.LSTMP(size, H, P, rng, dtype),
        lambda layers: nn.LSTM(E, H, layers, proj_size=P),
    ),
    "gru": (lambda size, rng, dtype: ref.GRU(size, H, rng, dtype), lambda layers: nn.GRU(E, H, layers)),
}


def stack_like_torch(kind: str, dtype: Any = np.float64, layers: int = L) -> tuple[ref.Stack, nn.RNNBase]:
    """A stack of ours and a module of torch with the same weights."""
    ours, theirs = KINDS[kind]
    rng = np.random.default_rng(0)
    below = ours(E, rng, dtype)
    stack = ref.Stack([below, *(ours(below.output_size, rng, dtype) for _ in range(layers - 1))])
    torch.manual_seed(1)
    module = theirs(layers).to(torch.float64 if dtype is np.float64 else torch.float32)
    assert list(stack.weights) == [name for name, _ in module.named_parameters()]
    for name, parameter in module.named_parameters():
        stack.weights[name][...] = parameter.detach().numpy()
    return stack, module


def run_torch(
    module: nn.RNNBase, xs: torch.Tensor, state: tuple[torch.Tensor, ...]
) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
    outputs, last = module(xs, tuple(state) if module.mode == "LSTM" else state[0])
    return outputs, last if isinstance(last, tuple) else (last,)


def random_state(rng: np.random.Generator, stack: ref.Stack, batch_size: int = B) -> ref.State:
    zero = stack.zero_state(batch_size)
    return tuple(rng.normal(size=part.shape).astype(part.dtype) for part in zero)


@pytest.mark.parametrize("kind", KINDS)
def test_outputs_and_states_equal_torch_in_float32(kind: str) -> None:
    stack, module = stack_like_torch(kind, np.float32)
    rng = np.random.default_rng(2)
    xs, state = rng.normal(size=(T, B, E)).astype(np.float32), random_state(rng, stack)

    outputs, last, _ = stack.forward(xs, state)
    expected, expected_last = run_torch(module, torch.from_numpy(xs), tuple(map(torch.from_numpy, state)))

    assert outputs.dtype == np.float32
    np.testing.assert_allclose(outputs, expected.detach().numpy(), rtol=0, atol=1e-6)
    for part, expected_part in zip(last, expected_last, strict=True):
        np.testing.assert_allclose(part, expected_part.detach().numpy(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_every_gradient_equals_torch_autograd_in_float64(kind: str) -> None:
    """Of inputs, of the first state and of every weight, for a loss that reads all outputs and the last state."""
    stack, module = stack_like_torch(kind)
    rng = np.random.default_rng(3)
    xs, state = rng.normal(size=(T, B, E)), random_state(rng, stack)
    d_outputs, d_last = rng.normal(size=(T, B, stack.output_size)), random_state(rng, stack)

    _, _, tapes = stack.forward(xs, state)
    d_xs, d_first, gradients = stack.backward(d_outputs, d_last, tapes)

    x = torch.from_numpy(xs).requires_grad_()
    first = tuple(torch.from_numpy(part).requires_grad_() for part in state)
    outputs, last = run_torch(module, x, first)
    loss = (outputs * torch.from_numpy(d_outputs)).sum()
    for part, d_part in zip(last, d_last, strict=True):
        loss = loss + (part * torch.from_numpy(d_part)).sum()
    loss.backward()

    compared = [(d_xs, x.grad), *zip(d_first, [part.grad for part in first], strict=True)]
    compared += [(gradients[name], parameter.grad) for name, parameter in module.named_parameters()]
    for ours, theirs in compared:
        assert theirs is not None
        np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-10, atol=1e-10)


ONE_LAYER: dict[str, Callable[[np.random.Generator], ref.Recurrence]] = {
    "rnn_tanh": lambda rng: ref.RNN(E, H, rng, "tanh"),
    "rnn_relu": lambda rng: ref.RNN(E, H, rng, "relu"),
    "rnn_identity": lambda rng: ref.RNN(E, H, rng, "identity"),
    "lstm": lambda rng: ref.LSTM(E, H, rng),
    "lstmp": lambda rng: ref.LSTMP(E, H, P, rng),
    "gru": lambda rng: ref.GRU(E, H, rng),
}


@pytest.mark.parametrize("kind", ONE_LAYER)
def test_gradients_equal_finite_differences(kind: str) -> None:
    """Each hand-derived gradient is the slope of the loss when one number is moved a little."""
    rng = np.random.default_rng(4)
    layer = ONE_LAYER[kind](rng)
    xs = rng.normal(size=(3, B, E))
    state = tuple(rng.normal(size=part.shape) for part in layer.zero_state(B))
    wanted = rng.normal(size=(3, B, layer.output_size))

    def loss() -> float:
        return float((layer.forward(xs, state)[0] * wanted).sum())

    d_xs, d_first, gradients = layer.backward(wanted, layer.zero_state(B), layer.forward(xs, state)[2])
    moved = [(xs, d_xs), *zip(state, d_first, strict=True)]
    moved += [(weight, gradients[name]) for name, weight in layer.weights.items()]
    for array, gradient in moved:
        for _ in range(5):
            at = tuple(rng.integers(size) for size in array.shape)
            before, eps = array[at], 1e-6
            array[at] = before + eps
            above = loss()
            array[at] = before - eps
            below = loss()
            array[at] = before
            np.testing.assert_allclose(gradient[at], (above - below) / (2 * eps), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("kind", ONE_LAYER)
def test_a_step_of_one_vector_is_a_row_of_a_batch(kind: str) -> None:
    rng = np.random.default_rng(5)
    layer = ONE_LAYER[kind](rng)
    x, state = rng.normal(size=(B, E)), tuple(rng.normal(size=part.shape) for part in layer.zero_state(B))
    batch, _ = layer.step(x, state)
    row, tape = layer.step(x[1], tuple(part[1] for part in state))
    for part, batch_part in zip(row, batch, strict=True):
        np.testing.assert_allclose(part, batch_part[1], rtol=1e-12)
    d_x, _ = layer.step_backward(row, tape, layer.zero_gradients())
    assert d_x.shape == (E,)


def test_a_lstm_step_is_its_equations_worked_out_by_hand() -> None:
    """All weights 0.5, inputs one, H = 1, state zero: every gate sees 0.5 + 0.5 + 0.5 = 1.5."""
    cell = ref.LSTM(1, 1, np.random.default_rng(0))
    for weight in cell.weights.values():
        weight[...] = 0.5
    (h, c), _ = cell.step(np.ones(1), (np.zeros(1), np.zeros(1)))
    gate, candidate = 1 / (1 + np.exp(-1.5)), np.tanh(1.5)
    np.testing.assert_allclose(c, gate * candidate)
    np.testing.assert_allclose(h, gate * np.tanh(gate * candidate))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("chunk_len", [1, 3, T, T + 2])
def test_chunks_that_hand_the_state_on_compute_the_whole_sequence(kind: str, chunk_len: int) -> None:
    stack, _ = stack_like_torch(kind)
    rng = np.random.default_rng(6)
    xs, state = rng.normal(size=(T, B, E)), random_state(rng, stack)
    d_outputs = rng.normal(size=(T, B, stack.output_size))
    whole, last, tapes = stack.forward(xs, state)
    cut, cut_last, cut_tapes = ref.forward_in_chunks(stack, xs, state, chunk_len)
    np.testing.assert_array_equal(cut, whole)
    np.testing.assert_array_equal(cut_last[-1], last[-1])

    d_xs, d_first, gradients = stack.backward(d_outputs, stack.zero_state(B), tapes)
    exact_xs, exact_first, exact = ref.backward_in_chunks(stack, d_outputs, cut_tapes, chunk_len, exact=True)
    np.testing.assert_allclose(exact_xs, d_xs, atol=1e-13)
    np.testing.assert_allclose(exact_first[0], d_first[0], atol=1e-13)
    for name, gradient in gradients.items():
        np.testing.assert_allclose(exact[name], gradient, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("chunk_len", [2, 3])
def test_truncated_gradients_equal_torch_with_detached_states(kind: str, chunk_len: int) -> None:
    stack, module = stack_like_torch(kind)
    rng = np.random.default_rng(7)
    xs, state = rng.normal(size=(T, B, E)), random_state(rng, stack)
    d_outputs = rng.normal(size=(T, B, stack.output_size))
    _, _, tapes = ref.forward_in_chunks(stack, xs, state, chunk_len)
    d_xs, _, gradients = ref.backward_in_chunks(stack, d_outputs, tapes, chunk_len)

    x, wanted = torch.from_numpy(xs).requires_grad_(), torch.from_numpy(d_outputs)
    carried = tuple(map(torch.from_numpy, state))
    for start in range(0, T, chunk_len):
        outputs, carried = run_torch(module, x[start : start + chunk_len], carried)
        (outputs * wanted[start : start + chunk_len]).sum().backward()
        carried = tuple(part.detach() for part in carried)

    assert x.grad is not None
    np.testing.assert_allclose(d_xs, x.grad.numpy(), rtol=1e-10, atol=1e-10)
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None
        np.testing.assert_allclose(gradients[name], parameter.grad.numpy(), rtol=1e-10, atol=1e-10, err_msg=name)


def recall_task(rng: np.random.Generator, length: int, lag: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Name the symbol read `lag` steps ago: one-hot inputs [length, 8, 3], targets [length, 8]."""
    symbols = rng.integers(3, size=(length, 8))
    targets = np.roll(symbols, lag, axis=0)
    targets[:lag] = 0
    return np.eye(3)[symbols], targets


def tagger(kind: str = "lstm", layers: int = 1) -> ref.Tagger:
    rng = np.random.default_rng(8)
    below: ref.Recurrence = ref.LSTM(3, 12, rng) if kind == "lstm" else ref.GRU(3, 12, rng)
    return ref.Tagger(ref.Stack([below, *(ref.LSTM(12, 12, rng) for _ in range(layers - 1))]), 3, rng)


OPTIMIZERS: dict[str, tuple[Callable[[], Any], Callable[..., torch.optim.Optimizer]]] = {
    "sgd": (lambda: ref.SGD(0.5), lambda parameters: torch.optim.SGD(parameters, 0.5)),
    "adagrad": (lambda: ref.Adagrad(0.1), lambda parameters: torch.optim.Adagrad(parameters, 0.1)),
    "adam": (lambda: ref.Adam(0.02), lambda parameters: torch.optim.Adam(parameters, 0.02)),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_chunked_training_equals_torch_with_detached_states(optimizer: str) -> None:
    """The same losses and the same weights after every chunk was followed by an update."""
    ours, theirs = OPTIMIZERS[optimizer]
    model, chunk_len = tagger(layers=2), 4
    xs, targets = recall_task(np.random.default_rng(9), 18)

    module, head = nn.LSTM(3, 12, 2).double(), nn.Linear(12, 3).double()
    named = dict(module.named_parameters()) | {"head_weight": head.weight, "head_bias": head.bias}
    with torch.no_grad():
        for name, weight in model.weights.items():
            named[name].copy_(torch.from_numpy(weight))
    update = theirs(named.values())
    carried, expected = None, []
    for start in range(0, len(xs), chunk_len):
        outputs, carried = module(torch.from_numpy(xs[start : start + chunk_len]), carried)
        target = torch.from_numpy(targets[start : start + chunk_len])
        loss = nn.functional.cross_entropy(head(outputs).flatten(0, 1), target.flatten())
        update.zero_grad()
        loss.backward()
        update.step()
        carried = tuple(part.detach() for part in carried)
        expected.append(loss.item())

    losses = ref.train(model, xs, targets, chunk_len, ours())

    np.testing.assert_allclose(losses, expected, rtol=1e-9)
    for name, weight in model.weights.items():
        np.testing.assert_allclose(weight, named[name].detach().numpy(), rtol=1e-6, atol=1e-9, err_msg=name)


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_it_learns_to_recall_what_it_read_two_steps_ago(kind: str) -> None:
    """From guessing (log 3 = 1.10) to knowing, across chunks shorter than the whole sequence."""
    model = tagger(kind)
    xs, targets = recall_task(np.random.default_rng(10), 1000)
    losses = ref.train(model, xs, targets, 5, ref.Adam(0.02))
    assert np.mean(losses[:5]) > 1.0
    assert np.mean(losses[-20:]) < 0.1


def test_what_lies_before_a_chunk_is_recalled_only_if_the_state_is_handed_on() -> None:
    """With chunks of one step no gradient reaches back, yet the carried values still matter."""
    model = tagger()
    xs, _ = recall_task(np.random.default_rng(11), 6)
    zero = model.stack.zero_state(8)
    whole, _, _ = model.stack.forward(xs, zero)
    cold, _, _ = model.stack.forward(xs[3:], zero)
    assert not np.allclose(whole[3:], cold)


def test_wrong_arguments_are_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="proj_size=5"):
        ref.LSTMP(E, 5, 5, rng)
    with pytest.raises(ValueError, match="got 'sine'"):
        ref.RNN(E, H, rng, "sine")
    with pytest.raises(ValueError, match=f"{H} values, not {E}"):
        ref.Stack([ref.LSTM(E, H, rng), ref.LSTM(E, H, rng)])
    with pytest.raises(ValueError, match="got 0"):
        ref.train(tagger(), *recall_task(rng, 4), 0, ref.SGD(0.1))


def test_the_reference_imports_nothing_of_torch_or_of_the_code_it_checks() -> None:
    for path in Path(ref.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                assert not name.startswith(("unrolled", "torch")), f"{path.name} imports {name}"
