"""Building and loading the native code, each in processes of their own: what is loaded stays loaded."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from unrolled.nn.engines import native

needs_compiler = pytest.mark.skipif(shutil.which("c++") is None, reason="no compiler")


def start(code: str, cache: Path, **environment: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, "UNROLLED_CACHE": str(cache), "OMP_NUM_THREADS": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: "subprocess.Popen[str]") -> tuple[str, str]:
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return out, err


@pytest.fixture
def quick_compiler(tmp_path: Path) -> Path:
    """A compiler that notes every call and is slow enough to be met at work, but compiles an empty file."""
    script = tmp_path / "quick-c++"
    script.write_text(
        f"""#!/bin/sh
case " $* " in
  *" -c "*) echo compiled >> {tmp_path}/calls; sleep 1
    while [ "$1" != -o ]; do shift; done
    echo | exec c++ -fPIC -c -x c++ - -o "$2" ;;
  *" -shared "*) while [ "$1" != -o ]; do shift; done; exec c++ -shared -o "$2" -x c++ /dev/null ;;
  *) exec c++ "$@" ;;
esac
"""
    )
    script.chmod(0o755)
    return script


@needs_compiler
def test_two_processes_that_need_it_at_once_build_it_once(tmp_path: Path, quick_compiler: Path) -> None:
    code = "from unrolled.nn.engines import native; print(native.load())"
    both = [start(code, tmp_path, CXX=str(quick_compiler)) for _ in range(2)]
    (first, _), (second, _) = map(finish, both)
    assert first == second
    assert (tmp_path / "calls").read_text().split() == ["compiled"]
    library = Path(first.strip())
    assert library.is_file()
    assert list(library.parent.iterdir()) == [library]  # nothing half made
    third, _ = finish(start(code, tmp_path, CXX=str(quick_compiler)))  # and a later process finds it
    assert third == first
    assert (tmp_path / "calls").read_text().split() == ["compiled"]


USE = """
import logging; logging.basicConfig(format="%(message)s")
import torch
from unrolled.nn.dropout import dropout
from unrolled.nn.engines.fused import fused, version
assert dropout(torch.full((9,), 7.0), 0.5, True).unique().tolist() in ([0.0], [14.0], [0.0, 14.0])
weights = {"weight_ih": torch.ones(2, 2), "weight_hh": torch.ones(2, 2)}
for _ in range(2):
    print(version(), fused("RNN", torch.zeros(3, 1, 2), (torch.zeros(1, 2),), weights)[0].sum().item())
"""


@pytest.mark.parametrize(
    ("compiler", "reason"),
    [("no-such-compiler", "no-such-compiler"), ("false", ""), ("", "not writable")],
    ids=["missing", "failing", "cache not writable"],
)
def test_without_native_code_python_runs_and_one_sentence_says_why(tmp_path: Path, compiler: str, reason: str) -> None:
    cache = tmp_path
    if not compiler:
        cache = tmp_path / "file"
        cache.write_text("where the folder should be")
        reason = str(cache)
    out, err = finish(start(USE, cache, CXX=compiler or "c++"))
    assert out.splitlines() == ["python 0.0", "python 0.0"]
    said = [line for line in err.splitlines() if "native recurrences cannot be built" in line]
    assert len(said) == 1
    assert "Python version runs" in said[0]
    assert reason in said[0]
    assert "Traceback" not in err


def test_the_library_is_named_by_what_it_depends_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    here = native._key(native.SOURCE)
    assert native._key(native.SOURCE) == here
    changed = tmp_path / "recurrences.cpp"
    changed.write_bytes(native.SOURCE.read_bytes() + b"\n")
    assert native._key(changed) != here
    for attribute, value in [("torch.__version__", "0"), ("sys.version", "0")]:
        with monkeypatch.context() as patch:
            patch.setattr(attribute, value)
            assert native._key(native.SOURCE) != here
    with monkeypatch.context() as patch:
        patch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "DEFAULT")
        assert native._key(native.SOURCE) != here
    with monkeypatch.context() as patch:
        patch.setenv("CXX", "another-compiler")
        assert native._key(native.SOURCE) != here


def test_the_cache_is_where_the_user_wants_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("UNROLLED_CACHE", str(tmp_path))
    assert native.cache_dir() == tmp_path / "engines"
    monkeypatch.delenv("UNROLLED_CACHE")
    assert native.cache_dir() == Path(__file__).parents[3] / ".cache" / "unrolled" / "engines"
