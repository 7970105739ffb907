"""The command line of train.py before Hydra reads it."""

from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from unrolled.cli.command_line import check_options, check_output_dir, quote_names, without_null_choices
from unrolled.errors import UserError

ROOT = Path(__file__).parents[2]


def test_a_command_line_without_settings_is_taken_as_it_is() -> None:
    """As `make train` gives it."""
    check_options([], ROOT / "conf")
    check_output_dir([], ROOT)
    assert without_null_choices(quote_names([]), ROOT / "conf") == []


def test_names_that_hydra_cannot_read_are_quoted_and_all_else_is_refused() -> None:
    arguments = [
        "data.train=my reviews (1).csv",
        "data.label_column=Stars (1-5)",
        "data.test=a=b.csv",
        "-m",
        "seed=1,2",
    ]
    found = quote_names(arguments)
    assert found[3:] == ["-m", "seed=1,2"]
    values = [override.value() for override in OverridesParser.create().parse_overrides(found[:3])]
    assert values == ["my reviews (1).csv", "Stars (1-5)", "a=b.csv"]
    with pytest.raises(UserError, match="in quotes twice"):
        quote_names(["name=run (1)"])
