"""Signals wait until what must not be cut in two is done, and then do what they would have done."""

import signal
import subprocess
import sys
import threading

import pytest

from unrolled.train.results import load_result
from unrolled.train.signals import SIGNALS, defer_signals

SAVE_AND_BE_TOLD = """
import signal, sys, threading, time, torch
from pathlib import Path
from unrolled.train.checkpoint_io import AtomicCheckpointIO, load_intact

content = {str(i): torch.full((20000,), float(i)) for i in range(100)}
path = Path(sys.argv[1])
saver = AtomicCheckpointIO()
saver.save_checkpoint(content, path)
began = time.perf_counter()
saver.save_checkpoint(content, path)
took = time.perf_counter() - began
for i in range(20):
    timer = threading.Timer((i + 0.5) / 20 * took, lambda: signal.raise_signal(signal.SIGINT))
    try:
        timer.start()
        while True:
            saver.save_checkpoint(content, path)
    except KeyboardInterrupt:
        assert len(load_intact(path)) == 100
print("whole")
"""


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_waits_and_is_handled_then(number) -> None:
    came: list[int] = []
    before = signal.signal(number, lambda number, frame: came.append(number))
    try:
        with defer_signals():
            signal.raise_signal(number)
            assert came == []
        assert came == [number]
        signal.raise_signal(number)
        assert came == [number, number]
    finally:
        signal.signal(number, before)


def stop_in_the_body(done: list[bool], error: Exception | None = None) -> None:
    with defer_signals():
        signal.raise_signal(signal.SIGINT)
        done.append(True)
        if error is not None:
            raise error


def test_ctrl_c_interrupts_behind_the_body_and_not_in_it() -> None:
    done: list[bool] = []
    with pytest.raises(KeyboardInterrupt):
        stop_in_the_body(done)
    assert done == [True]


def test_ctrl_c_does_not_hide_what_the_body_raised() -> None:
    error = OSError("disk full")
    with pytest.raises(KeyboardInterrupt) as stopped:
        stop_in_the_body([], error)
    assert stopped.value.__context__ is error


def test_another_thread_can_use_it() -> None:
    done: list[bool] = []

    def work() -> None:
        with defer_signals():
            done.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [True]


def test_ctrl_c_while_a_checkpoint_is_written_is_ctrl_c_and_the_file_is_whole(tmp_path) -> None:
    command = [sys.executable, "-c", SAVE_AND_BE_TOLD, str(tmp_path / "a.ckpt")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.stdout == "whole\n", done.stderr


RECORD_AND_SLEEP = """
import signal, sys, time
from pathlib import Path
from unrolled.train.record import recorded_run
with recorded_run(Path(sys.argv[1]), {}, name="sleeper"):
    print("ready", flush=True)
    time.sleep(60)
"""


def test_a_terminated_process_leaves_its_results(tmp_path) -> None:
    directory = tmp_path / "runs" / "sleeper" / "1"
    command = [sys.executable, "-c", RECORD_AND_SLEEP, str(directory)]
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
    command = [sys.executable, "-c", RECORD_AND_SLEEP, str(directory)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.kill()
    assert load_result(directory).status == "running"
