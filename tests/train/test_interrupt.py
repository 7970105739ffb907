import subprocess
import sys

from unrolled.train.results import load_result

PROGRAM = """
import signal, sys, time
from pathlib import Path
from unrolled.train.results import recorded_run
with recorded_run(Path(sys.argv[1]), {}, name="sleeper"):
    print("ready", flush=True)
    time.sleep(60)
"""


def test_a_terminated_process_leaves_its_results(tmp_path) -> None:
    directory = tmp_path / "runs" / "sleeper" / "1"
    command = [sys.executable, "-c", PROGRAM, str(directory)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.terminate()
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 143
    assert load_result(directory).status == "interrupted"
    assert "KeyboardInterrupt" not in errors


def test_a_killed_process_leaves_a_run_that_never_ended(tmp_path) -> None:
    directory = tmp_path / "runs" / "sleeper" / "1"
    command = [sys.executable, "-c", PROGRAM, str(directory)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.kill()
    assert load_result(directory).status == "running"
