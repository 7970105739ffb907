from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

from unrolled.errors import UserError
from unrolled.files import cache_directory, disk_errors, lock
from unrolled.places import default_cache_dir


def test_a_home_that_does_not_exist_is_refused_and_ones_own_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_directory("~/kept") == tmp_path / "kept"
    with pytest.raises(UserError, match=r"^data\.cache_dir=~nobody-of-this-name is not a usable path: "):
        cache_directory("~nobody-of-this-name")


def test_a_lock_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    inside: list[int] = []
    most: list[int] = []

    def work() -> None:
        for _ in range(20):
            with lock(tmp_path / "deep" / "x.lock", "tests") as held:
                assert held
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(most) == 80
    assert max(most) == 1
    assert list((tmp_path / "deep").iterdir()) == [], "the last one leaves no file"


@pytest.mark.parametrize(
    ("number", "said"),
    [(errno.ENOSPC, "the disk is full"), (errno.EROFS, "read-only"), (errno.EACCES, "not permitted")],
)
def test_a_disk_that_cannot_be_written_is_said_in_one_sentence(tmp_path: Path, number: int, said: str) -> None:
    with pytest.raises(UserError, match=rf"{said}.*UNROLLED_CACHE"), disk_errors(tmp_path):
        raise OSError(number, os.strerror(number))


def test_other_errors_pass_unchanged(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), disk_errors(tmp_path):
        (tmp_path / "nowhere").read_bytes()


def test_the_cache_lies_in_the_project_or_where_the_environment_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("UNROLLED_CACHE", raising=False)
    assert default_cache_dir().name == "unrolled"
    assert default_cache_dir().parent.name == ".cache"
    monkeypatch.setenv("UNROLLED_CACHE", str(tmp_path))
    assert default_cache_dir() == tmp_path
