"""How torch's threads wait: asleep while others want the processors, and as the user says."""

import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from unrolled.waiting import VARIABLES

PROCESSORS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0  # 0: not Linux
OTHERS = {name: value for name, value in os.environ.items() if name not in (*VARIABLES, "OMP_NUM_THREADS")}


def run(code: str, **variables: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=OTHERS | variables, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.skipif(PROCESSORS < 2, reason="threads of OpenMP never look on with one processor")
def test_threads_look_on_and_sleep_only_inside() -> None:
    """A thread that sleeps gives its processor up, which Linux counts: once for every operator, or never."""
    code = (
        "import os, time, torch, sklearn.svm\n"  # which has an OpenMP of its own
        "from pathlib import Path\n"
        "from unrolled.waiting import TASKS, asleep\n"
        "torch.set_num_threads(2)\n"
        "x = torch.zeros(2**20)\n"
        "def slept(operators):\n"
        "    before = [counted(task) for task in others]\n"
        "    for _ in range(operators):\n"
        "        x.add_(1)\n"
        "        time.sleep(0.002)\n"
        "    return sum(counted(task) for task in others) - sum(before)\n"
        "def counted(task):\n"
        "    lines = (TASKS / task / 'status').read_text().splitlines()\n"
        "    return int(next(line for line in lines if line.startswith('voluntary')).split()[1])\n"
        "others = set(os.listdir(TASKS)) - {str(os.getpid())}\n"
        "looking = slept(50)\n"
        "with asleep():\n"
        "    sleeping = slept(50)\n"
        "print(looking, sleeping, slept(50))\n"
    )
    looking, sleeping, again = map(int, run(code, GOMP_SPINCOUNT="1000000000000"))
    assert sleeping >= 45
    assert looking <= 5
    assert again <= 6  # the team may end a moment later than its thread


@pytest.mark.skipif(not PROCESSORS, reason="Linux alone ties threads to a processor")
def test_the_watch_sees_that_processors_are_wanted() -> None:
    """Two programs tied to one processor: each waits half of the time."""
    code = (
        "import os, subprocess, sys, time\n"
        "from unrolled.waiting import seconds_kept_waiting\n"
        "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "def waited():\n"
        "    before, began = seconds_kept_waiting(), time.perf_counter()\n"
        "    while time.perf_counter() - began < 1:\n"
        "        pass\n"
        "    return seconds_kept_waiting() - before\n"
        "other = subprocess.Popen([sys.executable, '-c', 'while True: pass'])\n"
        "print(waited())\n"
        "other.kill()\n"
    )
    assert float(run(code)[0]) > 0.2


@pytest.mark.skipif(PROCESSORS < 2, reason="needs a processor to wait for")
def test_a_command_sleeps_while_its_processors_are_wanted() -> None:
    """With as many other programs as processors there is a second team; with none the watch opens no team."""
    code = (
        "import os, subprocess, sys, threading, time\n"
        "from unrolled.cli.terminal import interruptible\n"
        "with interruptible():\n"
        "    busy = 'while True: pass'\n"
        "    others = [subprocess.Popen([sys.executable, '-c', busy]) for _ in os.sched_getaffinity(0)]\n"
        "    import torch\n"
        "    x = torch.zeros(2**20)\n"
        "    until = time.perf_counter() + 1\n"
        "    while time.perf_counter() < until:\n"
        "        x.add_(1)\n"  # on one thread, while the watch looks
        "    torch.set_num_threads(2)\n"
        "    began, found = time.perf_counter(), False\n"
        "    while not found and time.perf_counter() - began < 60:\n"
        "        x.add_(1)\n"
        "        found = any(thread.name == 'crowd' for thread in threading.enumerate())\n"
        "    [other.kill() for other in others]\n"
        "    print(found)\n"
    )
    assert run(code, OMP_NUM_THREADS="1") == ["True"]


@pytest.mark.parametrize(("name", "value"), [("GOMP_SPINCOUNT", "77"), ("OMP_WAIT_POLICY", "active")])
def test_the_users_own_way_of_waiting_stays(name: str, value: str) -> None:
    code = (
        "import os, threading\n"
        "from unrolled.cli.terminal import interruptible\n"
        "with interruptible():\n"
        f"    print(*(os.environ.get(name) for name in {VARIABLES!r}), threading.active_count())\n"
    )
    assert run(code, **{name: value}) == [value if each == name else "None" for each in VARIABLES] + ["1"]


@pytest.mark.parametrize("script", ["train", "evaluate", "predict", "compare", "export", "benchmark"])
def test_where_nobody_can_tell_every_script_looks_on_for_less(script: str) -> None:
    """The variable is there before torch is imported; elsewhere it is left alone."""
    code = (
        "import builtins, os, pathlib, runpy\n"
        "import unrolled.waiting\n"
        "unrolled.waiting.TASKS = pathlib.Path('/nowhere')\n"
        "real = builtins.__import__\n"
        "def watched(name, *others, **more):\n"
        "    if name.partition('.')[0] == 'torch' and 'GOMP_SPINCOUNT' not in os.environ:\n"
        "        raise SystemExit('torch comes too early')\n"
        "    return real(name, *others, **more)\n"
        "builtins.__import__ = watched\n"
        f"runpy.run_path('{script}.py', run_name='imported')\n"
        "print(os.environ['GOMP_SPINCOUNT'])\n"
    )
    assert run(code) == ["10000"]
    assert run("import os, unrolled.cli; print(os.environ.get('GOMP_SPINCOUNT'))") == ["None"]
