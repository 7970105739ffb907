"""What must hold for any cell, whoever wrote it.

The cells are those of `unrolled.nn.cells` and those that a `cell:` key in conf/model names: one of your own is tested
here as soon as it has a config.
"""

import copy
import inspect
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra.utils import get_class
from omegaconf import OmegaConf
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_sequence

import unrolled
import unrolled.nn.cells
from unrolled.nn.cells import Cell

E, H, B, T = 3, 5, 4, 6
ROOT = Path(__file__).parents[2]


def every_cell() -> dict[str, tuple[type[Cell], dict[str, Any]]]:
    """Class and further arguments of each cell, by name."""
    found: dict[str, tuple[type[Cell], dict[str, Any]]] = {}
    for name in unrolled.nn.cells.__all__:
        value = getattr(unrolled.nn.cells, name)
        if inspect.isclass(value) and issubclass(value, Cell) and value is not Cell:
            found[name] = (value, {})
            if issubclass(value, unrolled.LSTMCell):
                found[f"{name} with projection"] = (value, {"proj_size": 2})
    found["RNNCell with identity"] = (unrolled.RNNCell, {"nonlinearity": "identity"})
    for path in sorted((ROOT / "conf" / "model").glob("*.yaml")):
        config = OmegaConf.load(path)
        for part in [config, *(v for v in config.values() if OmegaConf.is_config(v))]:
            if OmegaConf.is_dict(part) and "." in str(part.get("cell", "")):
                found[path.stem] = (get_class(part["cell"]), {})
    return found


CELLS = every_cell()
ALL = pytest.mark.parametrize("name", CELLS)


def network(name: str, *args: Any, **options: Any) -> unrolled.Recurrence:
    torch.manual_seed(0)
    cell, more = CELLS[name]
    return unrolled.Recurrence(cell, E, H, *args, **options, **more)


def flat(state: Any) -> tuple[Tensor, ...]:
    return state if isinstance(state, tuple) else (state,)


@ALL
@pytest.mark.parametrize("bias", [False, True])
def test_the_loop_makes_the_steps_that_the_cell_makes(name: str, bias: bool) -> None:
    """Unrolled over time it equals its cell, a module of its own, called step by step."""
    net = network(name, bias=bias)
    kind, more = CELLS[name]
    cell = kind(E, H, bias=bias, **more)
    cell.load_state_dict({key.removesuffix("_l0"): value for key, value in net.state_dict().items()})
    x, state, outputs = torch.randn(T, B, E), None, []
    for step in x:
        state = cell(step, state)
        outputs.append(flat(state)[0])
    ours, last = net(x)
    torch.testing.assert_close(ours, torch.stack(outputs))
    torch.testing.assert_close(tuple(s[0] for s in flat(last)), flat(state))
    alone = cell(x[0, 0])
    torch.testing.assert_close(flat(alone)[0], outputs[0][0])


@ALL
def test_chunks_with_carried_state_equal_one_pass(name: str) -> None:
    net = network(name)
    x = torch.randn(T, B, E)
    whole, last = net.read(x, net.initial_state(B))
    torch.testing.assert_close(whole, net(x)[0])
    state, parts = net.initial_state(B), []
    for chunk in x.split([1, 3, 2]):
        outputs, state = net.read(chunk, state)
        parts.append(outputs)
    torch.testing.assert_close(torch.cat(parts), whole)
    torch.testing.assert_close(state, last)
    assert not torch.allclose(net.read(x[1:], net.initial_state(B))[0], whole[1:]), "carried state is ignored"


@ALL
def test_a_sequence_does_not_depend_on_its_batch_mates(name: str) -> None:
    net = network(name, 2, bidirectional=True)
    x = torch.randn(T, B, E)
    torch.testing.assert_close(net(x[:, 2:3])[0], net(x)[0][:, 2:3])


@ALL
def test_outputs_do_not_depend_on_later_inputs(name: str) -> None:
    net = network(name, 2)
    x = torch.randn(T, B, E)
    changed = torch.cat([x[:3], torch.randn(T - 3, B, E)])
    torch.testing.assert_close(net(changed)[0][:3], net(x)[0][:3])
    assert not torch.allclose(net(changed)[0][3:], net(x)[0][3:])


@ALL
@pytest.mark.parametrize("bidirectional", [False, True])
def test_packed_sequences_give_what_each_gives_alone(name: str, bidirectional: bool) -> None:
    net = network(name, 2, bidirectional=bidirectional)
    rows = [torch.randn(length, E) for length in (2, 6, 1, 6, 3)]
    hx = tuple(torch.randn(len(net.all_weights), len(rows), s.shape[-1]) for s in net.initial_state(0))
    packed, state = net(pack_sequence(rows, enforce_sorted=False), hx if len(hx) > 1 else hx[0])
    padded, lengths = nn.utils.rnn.pad_packed_sequence(packed)
    assert lengths.tolist() == [2, 6, 1, 6, 3]
    for i, row in enumerate(rows):
        own = tuple(s[:, i] for s in hx)
        y, last = net(row, own if len(own) > 1 else own[0])
        torch.testing.assert_close(padded[: len(row), i], y)
        torch.testing.assert_close(tuple(s[:, i] for s in flat(state)), flat(last))


@ALL
def test_two_directions_are_two_networks_the_second_on_the_flipped_input(name: str) -> None:
    both = network(name, bidirectional=True)
    one, other = network(name), network(name)
    one.load_state_dict({k: v for k, v in both.state_dict().items() if not k.endswith("_reverse")})
    other.load_state_dict({k[:-8]: v for k, v in both.state_dict().items() if k.endswith("_reverse")})
    x = torch.randn(T, B, E)
    (y, last), (y_back, last_back) = one(x), other(x.flip(0))
    outputs, state = both(x)
    torch.testing.assert_close(outputs, torch.cat([y, y_back.flip(0)], dim=-1))
    for s, s_one, s_other in zip(flat(state), flat(last), flat(last_back), strict=True):
        torch.testing.assert_close(s, torch.cat([s_one, s_other]))


@ALL
def test_layers_are_networks_one_on_the_outputs_of_the_other(name: str) -> None:
    deep = network(name, 2)
    low = network(name)
    kind, more = CELLS[name]
    high = unrolled.Recurrence(kind, low.output_size, H, **more)
    low.load_state_dict({k: v for k, v in deep.state_dict().items() if k.endswith("_l0")})
    high.load_state_dict({f"{k[:-3]}_l0": v for k, v in deep.state_dict().items() if k.endswith("_l1")})
    x = torch.randn(T, B, E)
    torch.testing.assert_close(deep(x)[0], high(low(x)[0])[0])


@ALL
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    cell, more = CELLS[name]
    net = unrolled.Recurrence(cell, 2, 3, dtype=torch.float64, **more)
    names = [n for n, _ in net.named_parameters()]
    x = torch.randn(3, 2, 2, dtype=torch.float64, requires_grad=True)

    def run(x: Tensor, *weights: Tensor) -> Tensor:
        y, state = torch.func.functional_call(net, dict(zip(names, weights, strict=True)), (x,))
        return torch.cat([y.flatten(), *(s.flatten() for s in flat(state))])

    assert torch.autograd.gradcheck(run, (x, *net.parameters()), fast_mode=True)


@ALL
def test_every_weight_is_used_and_starts_as_the_seed_says(name: str) -> None:
    net = network(name, 2, bidirectional=True)
    net(torch.randn(T, B, E))[0].square().sum().backward()
    for key, weight in net.named_parameters():
        assert weight.grad is not None, key
        assert weight.grad.abs().sum() > 0, key
    again = network(name, 2, bidirectional=True)
    for key, value in net.state_dict().items():
        assert torch.equal(again.state_dict()[key], value), key


@ALL
def test_copies_compute_the_same(name: str) -> None:
    net = network(name, 2)
    x = torch.randn(T, B, E)
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):  # noqa: S301
        assert torch.equal(other(x)[0], net(x)[0])


@ALL
def test_under_bfloat16_autocast_the_state_stays_in_float32(name: str) -> None:
    net = network(name)
    x = torch.randn(T, B, E)
    with torch.autocast("cpu", torch.bfloat16):
        y, state = net(x)
    assert {s.dtype for s in flat(state)} == {torch.float32}
    torch.testing.assert_close(y.float(), net(x)[0], atol=0.1, rtol=0)


@ALL
def test_regularisers_act_in_training_only(name: str) -> None:
    """In evaluation all of them together are exactly absent; zoneout, which takes the expectation, has its own test."""
    on = {"dropout": 0.4}
    if CELLS[name][0].recurrent_weights:
        on["weight_dropout"] = 0.5
    plain, regularised = network(name, 2, bidirectional=True), network(name, 2, bidirectional=True, **on)
    x = torch.randn(T, B, E)
    assert not torch.allclose(regularised(x)[0], regularised(x)[0])
    assert torch.equal(regularised.eval()(x)[0], plain(x)[0])


def test_every_cell_that_is_public_is_tested_here() -> None:
    assert {"RNNCell", "LSTMCell", "GRUCell", "MGUCell", "LayerNormLSTMCell", "LayerNormGRUCell"} <= CELLS.keys()
