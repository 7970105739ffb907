"""`key=value` pairs beside options."""

import argparse

import pytest

from unrolled.errors import UserError
from unrolled.use.key_values import parse_key_values

KEYS = {"run": "a directory", "input": "a file"}


def parse(*arguments: str) -> tuple[argparse.Namespace, dict[str, str]]:
    parser = argparse.ArgumentParser()
    parser.add_argument("--top", type=int)
    return parse_key_values(parser, arguments, KEYS, required=["run"])


def test_pairs_and_options_mix() -> None:
    options, given = parse("run=a", "--top", "3", "input=b=c")
    assert options.top == 3
    assert given == {"run": "a", "input": "b=c"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["runs/a"], "write key=value"),
        (["rum=a"], "did you mean run="),
        (["run=a", "run=b"], "given twice"),
        (["run="], "the value is missing"),
        (["input=a"], "run= is missing: a directory"),
    ],
)
def test_mistakes_say_what_is_wrong(arguments, message) -> None:
    with pytest.raises(UserError, match=message):
        parse(*arguments)
