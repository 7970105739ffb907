"""Checkpoint files are whole or not there, and damage is noticed."""

import random
import resource
import subprocess
import sys

import pytest
import torch

from unrolled.train.checkpoint_io import AtomicCheckpointIO, load_intact

CONTENT = {"state_dict": {"weight": torch.arange(600.0), "bias": torch.ones(3)}, "epoch": 2, "rows": [{"a": 1.5}]}


@pytest.fixture
def saved(tmp_path):
    AtomicCheckpointIO().save_checkpoint(CONTENT, tmp_path / "new" / "a.ckpt")
    return tmp_path / "new" / "a.ckpt"


def test_what_was_saved_is_loaded_and_nothing_else_is_left(saved) -> None:
    loaded = load_intact(saved)
    assert torch.equal(loaded["state_dict"]["weight"], CONTENT["state_dict"]["weight"])
    assert (loaded["epoch"], loaded["rows"]) == (2, [{"a": 1.5}])
    assert [path.name for path in saved.parent.iterdir()] == ["a.ckpt"]


def test_a_write_that_fails_leaves_the_old_file(saved, monkeypatch) -> None:
    def half(content, file) -> None:
        file.write(b"half")
        raise OSError("disk full")

    before = saved.read_bytes()
    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(OSError, match="disk full"):
        AtomicCheckpointIO().save_checkpoint(CONTENT, saved)
    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == ["a.ckpt"]


SAVE_TOO_MUCH = """
import sys, torch
from pathlib import Path
from unrolled.train.checkpoint_io import AtomicCheckpointIO
from unrolled.files import DiskFullError

try:
    AtomicCheckpointIO().save_checkpoint({"weights": [torch.zeros(3 * 2**18)], "epoch": 3}, Path(sys.argv[1]))
except DiskFullError as error:
    print(error)
"""


def test_a_full_disk_is_one_message_and_leaves_the_old_file(saved) -> None:
    """No file of the process may grow beyond 1 MB, so that the system refuses the rest, as on a full disk."""
    before = saved.read_bytes()
    done = subprocess.run(
        [sys.executable, "-c", SAVE_TOO_MUCH, str(saved)],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (10**6, 10**6)),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.stdout.startswith(f"{saved} cannot be written, the disk is full: 3.0 MiB are needed, "), done.stderr
    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == ["a.ckpt"]


def test_a_file_cut_short_anywhere_is_noticed(saved) -> None:
    whole = saved.read_bytes()
    for length in [0, 1, len(whole) - 1, *random.Random(0).sample(range(len(whole)), 40)]:
        saved.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"."):
            load_intact(saved)


def test_a_changed_byte_is_noticed_or_changes_nothing(saved) -> None:
    """The zip container has bytes that mean nothing: padding, dates."""
    whole = saved.read_bytes()
    noticed = 0
    for position in random.Random(1).sample(range(len(whole)), 150):
        changed = bytearray(whole)
        changed[position] ^= 0xFF
        saved.write_bytes(changed)
        try:
            loaded = load_intact(saved)
        except ValueError:
            noticed += 1
        else:
            assert torch.equal(loaded["state_dict"]["weight"], CONTENT["state_dict"]["weight"]), position
            assert torch.equal(loaded["state_dict"]["bias"], CONTENT["state_dict"]["bias"]), position
            assert (loaded["epoch"], loaded["rows"]) == (2, [{"a": 1.5}]), position
    assert noticed > 60


def test_a_file_that_is_none_is_noticed(tmp_path) -> None:
    with pytest.raises(ValueError, match="No such file"):
        load_intact(tmp_path / "none.ckpt")
    torch.save([1, 2], tmp_path / "list.ckpt")
    with pytest.raises(ValueError, match="holds no checkpoint"):
        load_intact(tmp_path / "list.ckpt")
