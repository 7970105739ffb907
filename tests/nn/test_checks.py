"""What torch.nn refuses is refused with the same exception type; both are called."""

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import unrolled

E, H, B, T = 3, 5, 4, 6

NAMES = ("RNN", "LSTM", "GRU")

CONSTRUCTORS: dict[str, dict[str, Any]] = {
    "bias no bool": {"bias": 1},
    "batch_first no bool": {"batch_first": "yes"},
    "dropout above 1": {"dropout": 1.5},
    "dropout below 0": {"dropout": -0.1},
    "dropout a bool": {"dropout": True},
    "dropout a word": {"dropout": "half"},
    "hidden_size zero": {"hidden_size": 0},
    "hidden_size a float": {"hidden_size": 5.0},
    "input_size zero": {"input_size": 0},
    "input_size negative": {"input_size": -3},
    "input_size a float": {"input_size": 3.0},
    "no layers": {"num_layers": 0},
    "layers a float": {"num_layers": 1.5},
    "proj_size negative": {"proj_size": -1},
    "proj_size as large as hidden_size": {"proj_size": 5},
    "nonlinearity unknown": {"nonlinearity": "sine"},
    "an unknown argument": {"gates": 3},
}


def pair(x: Any) -> Any:
    return (x, x)


CALLS: dict[str, Callable[[Any, bool], Any]] = {
    "1-D input": lambda m, two: m(torch.zeros(E)),
    "4-D input": lambda m, two: m(torch.zeros(1, T, B, E)),
    "other number of features": lambda m, two: m(torch.zeros(T, B, E + 1)),
    "no time step": lambda m, two: m(torch.zeros(0, B, E)),
    "no time step, unbatched": lambda m, two: m(torch.zeros(0, E)),
    "input in double": lambda m, two: m(torch.zeros(T, B, E, dtype=torch.float64)),
    "input of integers": lambda m, two: m(torch.zeros(T, B, E, dtype=torch.int64)),
    "state of another batch": lambda m, two: m(torch.zeros(T, B, E), with_state(two, 1, B + 1, H)),
    "state of another size": lambda m, two: m(torch.zeros(T, B, E), with_state(two, 1, B, H + 1)),
    "state of too many layers": lambda m, two: m(torch.zeros(T, B, E), with_state(two, 2, B, H)),
    "2-D state for batched input": lambda m, two: m(torch.zeros(T, B, E), with_state(two, B, H)),
    "3-D state for unbatched input": lambda m, two: m(torch.zeros(T, E), with_state(two, 1, 1, H)),
    "state in double": lambda m, two: m(torch.zeros(T, B, E), with_state(two, 1, B, H, dtype=torch.float64)),
    "one state for two, two for one": lambda m, two: m(torch.zeros(T, B, E), with_state(not two, 1, B, H)),
    "packed input of other features": lambda m, two: m(packed(E + 1)),
    "state of another batch, packed": lambda m, two: m(packed(E), with_state(two, 1, B + 1, H)),
    "a list for an input": lambda m, two: m([[0.0] * E]),
}


def with_state(two: bool, *shape: int, dtype: torch.dtype = torch.float32) -> Any:
    h = torch.zeros(*shape, dtype=dtype)
    return pair(h) if two else h


def packed(features: int) -> nn.utils.rnn.PackedSequence:
    return nn.utils.rnn.pack_padded_sequence(torch.zeros(T, B, features), torch.tensor([6, 5, 2, 1]))


def refusal(call: Callable[[], Any]) -> Exception:
    with pytest.raises(Exception) as caught:
        call()
    return caught.value


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("case", CONSTRUCTORS)
def test_constructors_refuse_what_torch_refuses(name: str, case: str) -> None:
    arguments = {"input_size": E, "hidden_size": H} | CONSTRUCTORS[case]
    theirs = refusal(lambda: getattr(nn, name)(**arguments))
    ours = refusal(lambda: getattr(unrolled, name)(**arguments))
    assert type(ours) is type(theirs), f"{ours!r} for {theirs!r}"
    assert str(ours)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("case", CALLS)
def test_calls_refuse_what_torch_refuses(name: str, case: str) -> None:
    theirs = refusal(lambda: CALLS[case](getattr(nn, name)(E, H), name == "LSTM"))
    ours = refusal(lambda: CALLS[case](getattr(unrolled, name)(E, H), name == "LSTM"))
    assert type(ours) is type(theirs), f"{ours!r} for {theirs!r}"
    assert str(ours)


@pytest.mark.parametrize("name", NAMES)
def test_messages_give_the_values_at_fault(name: str) -> None:
    make = getattr(unrolled, name)
    with pytest.raises(ValueError, match=r"dropout must be .* got 1\.5"):
        make(E, H, dropout=1.5)
    with pytest.raises(ValueError, match="hidden_size must be at least 1, got 0"):
        make(E, 0)
    with pytest.raises(RuntimeError, match="input_size=3 features, got 7"):
        make(E, H)(torch.zeros(T, B, 7))
    with pytest.raises(RuntimeError, match=r"\(1, 4, 5\).* got .*\(1, 9, 5\)"):
        make(E, H)(torch.zeros(T, B, E), with_state(name == "LSTM", 1, 9, H))
    with pytest.raises(ValueError, match=r"zoneout_hidden must be .* got -1"):
        make(E, H, zoneout_hidden=-1)


def test_only_an_lstm_has_a_memory_to_zone_out() -> None:
    with pytest.raises(ValueError, match=r"zoneout_cell=0\.1"):
        unrolled.GRU(E, H, zoneout_cell=0.1)


@pytest.mark.parametrize("name", NAMES)
def test_dropout_with_a_single_layer_warns_at_the_caller(name: str) -> None:
    for module in (nn, unrolled):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            getattr(module, name)(E, H, dropout=0.5)
        assert [w.category for w in caught] == [UserWarning]
        assert "dropout=0.5" in str(caught[0].message)
    assert caught[0].filename == __file__
