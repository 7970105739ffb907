"""What the programs import until they answer: what is not imported costs no time, on any machine."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.conftest import ROOT

from unrolled.benchmarks.start import Start


def imported(*arguments: str, given: str = "") -> set[str]:
    """The packages that a script imports, as Python itself reports them."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *arguments], cwd=ROOT, input=given, capture_output=True, text=True
    )
    return {name.partition(".")[0] for name in re.findall(r"^import time:.*\| +(\S+)$", done.stderr, re.M)}


PLOTS_AND_CURVES = {"matplotlib", "tensorboard", "pandas", "scipy", "sklearn"}


@pytest.mark.parametrize("script", ["compare", "evaluate", "benchmark"])
def test_help_imports_nothing_that_takes_long(script: str) -> None:
    found = imported(f"{script}.py", "--help")
    assert "argparse" in found
    assert not found & {"torch", "pytorch_lightning", "hydra", *PLOTS_AND_CURVES}


def test_classifying_a_line_imports_torch_but_nothing_that_trains(trained: Path) -> None:
    found = imported("predict.py", f"run={trained}", given="wheat prices rose\n")
    assert "torch" in found, "it did not come as far as the model"
    assert not found & {"pytorch_lightning", "lightning_fabric", "torchmetrics", "sympy", *PLOTS_AND_CURVES}


def test_a_start_is_timed_in_a_process_of_its_own_and_must_end_as_expected() -> None:
    start = Start(["compare.py", "--help"])
    start.run()
    start.run()
    assert len(start.cpu_seconds) == len(start.wall_seconds) == 2
    assert min(start.cpu_seconds) > 0
    with pytest.raises(RuntimeError, match="ended with status 2") as caught:
        Start(["train.py", "model.hiden_size=3"]).run()
    assert "model.hiden_size: there is no such key" in str(caught.value)
