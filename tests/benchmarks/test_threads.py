"""How torch's threads wait: the variable is there before torch is, and what the user has set stays."""

import os
import subprocess
import sys

import pytest
from tests.conftest import ROOT

from unrolled.benchmarks.threads import VARIABLES


@pytest.mark.parametrize("script", ["train", "evaluate", "predict", "compare", "export", "benchmark"])
def test_every_script_says_how_threads_wait_before_torch_is_imported(script: str) -> None:
    code = (
        "import builtins, os, runpy, sys\n"
        "real = builtins.__import__\n"
        "def watched(name, *others, **more):\n"
        "    if name.partition('.')[0] == 'torch' and 'GOMP_SPINCOUNT' not in os.environ:\n"
        "        raise SystemExit('torch comes too early')\n"
        "    return real(name, *others, **more)\n"
        "builtins.__import__ = watched\n"
        f"runpy.run_path('{script}.py', run_name='imported')\n"
        "print(os.environ['GOMP_SPINCOUNT'])\n"
    )
    environment = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().isdigit()


@pytest.mark.parametrize(("name", "value"), [("GOMP_SPINCOUNT", "77"), ("OMP_WAIT_POLICY", "active")])
def test_the_users_own_way_of_waiting_stays(name: str, value: str) -> None:
    code = f"import os, unrolled.cli; print(*(os.environ.get(name) for name in {VARIABLES[:2]!r}))"
    environment = {key: old for key, old in os.environ.items() if key not in VARIABLES} | {name: value}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [value if each == name else "None" for each in VARIABLES[:2]]
