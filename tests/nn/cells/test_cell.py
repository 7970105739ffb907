"""One step of each cell, against torch.nn's cells; and how little a cell of one's own needs."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import unrolled
from unrolled.nn.cells import Cell, State, Weights, affine

E, H, B = 3, 5, 4
NAMES = pytest.mark.parametrize("name", ["RNNCell", "LSTMCell", "GRUCell"])


def twins(name: str, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
    both = []
    for module in (unrolled, nn):
        torch.manual_seed(0)
        both.append(getattr(module, name)(*args, **kwargs))
    return both[0], both[1]


def flat(state: Any) -> tuple[Tensor, ...]:
    return state if isinstance(state, tuple) else (state,)


@NAMES
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("batch", [None, B])
@pytest.mark.parametrize("given", [False, True])
def test_values_and_gradients_of_a_step_equal_torch(name: str, bias: bool, batch: int | None, given: bool) -> None:
    ours, theirs = twins(name, E, H, bias, dtype=torch.float64)
    shape = () if batch is None else (batch,)
    x = torch.randn(*shape, E, dtype=torch.float64, requires_grad=True)
    h, c = (torch.randn(*shape, H, dtype=torch.float64, requires_grad=True) for _ in range(2))
    hx: Any = None if not given else (h, c) if name == "LSTMCell" else h
    results = []
    for cell in (ours, theirs):
        state = flat(cell(x, hx))
        loss = sum((s * (i + 1)).sin().sum() for i, s in enumerate(state))
        inputs = [x, *(flat(hx) if given else ()), *cell.parameters()]
        results.append((state, torch.autograd.grad(loss, inputs)))
    torch.testing.assert_close(results[0], results[1], atol=1e-12, rtol=0)


@NAMES
def test_weights_order_first_values_and_text_equal_torch(name: str) -> None:
    for options in ({}, {"bias": False}):
        ours, theirs = twins(name, E, H, **options)
        assert repr(ours) == repr(theirs)
        assert list(ours.state_dict()) == list(theirs.state_dict())
        for key, value in theirs.state_dict().items():
            assert torch.equal(ours.state_dict()[key], value), key
    assert twins(name, E, H, bias=False)[0].bias_ih is None
    ours, _ = twins(name, E, H)
    x = torch.randn(B, E)
    for other in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):  # noqa: S301
        torch.testing.assert_close(other(x), ours(x))


REFUSED: dict[str, Callable[[Any, bool], Any]] = {
    "3-D input": lambda cell, two: cell(torch.zeros(2, B, E)),
    "other number of features": lambda cell, two: cell(torch.zeros(B, E + 1)),
    "3-D state": lambda cell, two: cell(torch.zeros(B, E), state(two, 1, B, H)),
    "state of another size": lambda cell, two: cell(torch.zeros(B, E), state(two, B, H + 1)),
    "state of another batch": lambda cell, two: cell(torch.zeros(B, E), state(two, B + 1, H)),
}


def state(two: bool, *shape: int) -> Any:
    h = torch.zeros(*shape)
    return (h, h) if two else h


@NAMES
@pytest.mark.parametrize("case", REFUSED)
def test_cells_refuse_what_torch_refuses(name: str, case: str) -> None:
    raised = []
    for cell in twins(name, E, H):
        with pytest.raises((RuntimeError, ValueError)) as caught:
            REFUSED[case](cell, name == "LSTMCell")
        raised.append(caught.type)
    assert raised[0] is raised[1]


def test_affine_keeps_the_dtype_of_the_state() -> None:
    x, h, U = torch.randn(B, 2), torch.randn(B, H), torch.randn(H, 2)
    torch.testing.assert_close(affine(x, h, U), x + h @ U)
    torch.testing.assert_close(affine(None, h, U), h @ U)
    with torch.autocast("cpu", torch.bfloat16):
        assert affine(x, h, U).dtype == torch.float32


class LeakyCell(Cell):
    """h' = (h + tanh(W x + U h + b)) / 2: a cell as short as can be."""

    def step(self, x: Tensor, state: State, w: Weights) -> State:
        (h,) = state
        return ((h + affine(x, h, w["U"]).tanh()) / 2,)


def test_a_cell_of_ones_own_is_its_step_and_gets_everything_else() -> None:
    x, h = torch.randn(B, E), torch.randn(B, H)
    cell = LeakyCell(E, H)
    sums = nn.functional.linear(x, cell.weight_ih, cell.bias_ih) + nn.functional.linear(h, cell.weight_hh, cell.bias_hh)
    wanted = (h + sums.tanh()) / 2
    torch.testing.assert_close(cell(x, h), wanted)
    net = unrolled.Recurrence(LeakyCell, E, H, num_layers=2, bidirectional=True, dropout=0.1, weight_dropout=0.2)
    outputs, last = net(torch.randn(6, B, E))
    assert outputs.shape == (6, B, 2 * H)
    assert last.shape == (4, B, H)


def test_a_cell_without_a_step_says_what_is_missing() -> None:
    class Nothing(Cell):
        pass

    with pytest.raises(NotImplementedError, match=r"Nothing must define step\(x, state, w\)"):
        Nothing(E, H)(torch.zeros(B, E))


@pytest.mark.parametrize("name", ["RNNCell", "LSTMCell", "GRUCell"])
def test_orthogonal_recurrent_weights_are_orthogonal_gate_by_gate(name: str) -> None:
    cell = getattr(unrolled, name)(E, H, orthogonal=True)
    for block in cell.weight_hh.detach().split(H):
        torch.testing.assert_close(block @ block.t(), torch.eye(H), atol=1e-5, rtol=0)
    uniform = getattr(unrolled, name)(E, H)
    block = uniform.weight_hh.detach()[:H]
    assert not torch.allclose(block @ block.t(), torch.eye(H), atol=1e-2)
