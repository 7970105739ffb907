"""Keys and values that a user gives against those that there are."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

import pytest
import torch

from unrolled.arguments import Count, Rule, called_with, nearest, quoted, typed_values
from unrolled.errors import UserError

EXISTING = [
    *("data", "model", "pooling", "seed", "data.valid_share", "data.valid", "data.train", "data.max_tokens"),
    *("model.hidden_size", "model.dropout", "optimizer.lr", "pooling.dropout", "tbptt.batch_size"),
    *("tbptt.eval_batch_size", "tbptt.chunk_len", "trainer.max_epochs", "trainer.min_epochs"),
]


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("lr", ["optimizer.lr"]),
        ("learning_rate", ["optimizer.lr"]),
        ("optimizer.learning_rate", ["optimizer.lr"]),
        ("epochs", ["trainer.max_epochs"]),
        ("trainer.epochs", ["trainer.max_epochs"]),
        ("batch_size", ["tbptt.batch_size"]),
        ("data.batch_size", ["tbptt.batch_size"]),
        ("hidden_size", ["model.hidden_size"]),
        ("dropout", ["model.dropout", "pooling.dropout"]),
        ("readout", ["pooling"]),
        ("readout.dropout", ["pooling.dropout"]),
        ("data.val", ["data.valid"]),
        ("data.max_token", ["data.max_tokens"]),
        ("model.hiden_size", ["model.hidden_size"]),
        ("trainer.max_epoch", ["trainer.max_epochs"]),
        ("tbptt.chunklen", ["tbptt.chunk_len"]),
        ("sead", ["seed"]),
        ("modle", ["model"]),
        ("xyzzy.qqqq", []),
    ],
)
def test_a_key_that_does_not_exist_leads_to_the_one_that_was_meant(key: str, meant: list[str]) -> None:
    assert nearest(key, EXISTING) == meant


def call(
    whole: int = 1,
    fraction: float = 0.5,
    text: str | None = None,
    either: Literal["a", "b"] = "a",
    several: int | list[int] = 1,
    number: float | torch.Tensor = 1.0,
    anything: Any = None,
    function: Callable[..., Any] | None = None,
    nested: object = None,
    size: Count | None = None,
    part: Annotated[float, "of all", Rule(lambda value: value < 1, "less than 1")] = 0.5,
) -> None:
    """An argument of every kind."""


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("whole", "abc", "=abc: must be a whole number"),
        ("whole", 1.0, "=1.0: must be a whole number"),
        ("whole", True, "=true: must be a whole number"),
        ("whole", None, "=null: must be a whole number"),
        ("fraction", "x", "=x: must be a number"),
        ("fraction", False, "=false: must be a number"),
        ("text", True, "=true: must be text or null"),
        ("text", ["a"], r"=\['a'\]: must be text or null"),
        ("either", "c", "=c: must be one of a, b"),
        ("several", "x", "=x: must be a whole number"),
        ("number", "x", "=x: must be a number"),
        ("size", 0, "=0: must be at least 1 or null$"),
        ("size", 1.5, "=1.5: must be a whole number or null$"),
        ("part", 1, "=1: must be less than 1$"),
        ("fractoin", 1.0, ": there is no such key; did you mean group.fraction?"),
    ],
)
def test_a_value_of_another_type_is_refused(name: str, value: Any, rule: str) -> None:
    with pytest.raises(UserError, match=rf"^group\.{name}{rule}"):
        typed_values("group", call, {name: value})


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("fraction", 1, 1.0),
        ("text", 2024, "2024"),
        ("text", None, None),
        ("several", [1, 2], [1, 2]),
        ("number", 3, 3.0),
        ("anything", {"a": 1}, {"a": 1}),
        ("function", "torch.relu", "torch.relu"),
        ("nested", 5, 5),
        ("size", None, None),
        ("part", 0, 0.0),
        ("_partial_", True, True),
    ],
)
def test_a_value_that_fits_comes_back_with_its_type(name: str, value: Any, expected: Any) -> None:
    found = typed_values("group", call, {name: value})[name]
    assert (found, type(found)) == (expected, type(expected))


def test_an_argument_of_the_program_cannot_be_set() -> None:
    with pytest.raises(UserError, match=r"group\.whole: the program gives this argument itself"):
        typed_values("group", call, {"whole": 1}, provided=["whole"])


def test_a_call_inside_a_call_is_checked_as_well() -> None:
    inner = {"_target_": f"{__name__}.call", "whole": "x"}
    with pytest.raises(UserError, match=r"group\.anything\.whole=x: must be a whole number"):
        called_with("group", {"_target_": f"{__name__}.call", "anything": inner})


@pytest.mark.parametrize(
    ("target", "said"),
    [("no.such.module", "cannot be imported: "), ("math.pi", "must name a class"), (None, "=null cannot be imported")],
)
def test_a_target_that_cannot_be_called_is_named(
    target: str | None, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(UserError, match=f"group._target_={target or 'null'}.*{said}".replace("=null.*=null", "=null")):
        called_with("group", {"_target_": target})
    assert not caplog.text, "what Hydra says to it is not said as well"


def test_a_group_without_a_target_says_what_is_missing() -> None:
    with pytest.raises(UserError, match=r"group\._target_ is missing"):
        called_with("group", {"whole": 1})


@pytest.mark.parametrize("text", ["my (1).csv", "it's", "a\\b", "x=y, z", "[1]"])
def test_quotes_survive_hydras_grammar(text: str) -> None:
    from hydra.core.override_parser.overrides_parser import OverridesParser

    assert OverridesParser.create().parse_override(f"key={quoted(text)}").value() == text
