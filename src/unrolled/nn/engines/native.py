"""Builds native code, once for each machine, with the C++ compiler that is there, and loads the time loops from it."""

import contextlib
import functools
import hashlib
import importlib.util
import logging
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from unrolled.errors import UserError
from unrolled.files import lock
from unrolled.nn.engines import reference
from unrolled.places import default_cache_dir

log = logging.getLogger(__name__)

SOURCE = Path(__file__).with_name("recurrences.cpp")
FAILURES = (OSError, RuntimeError, ImportError, subprocess.SubprocessError, UserError)  # of building and loading


@functools.cache
def reason_missing() -> str:
    """Why there is no native code in this process, or "" if there is: builds it if that has not been done."""
    try:
        load()
    except FAILURES as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        reason = next((line for line in lines if "error:" in line), lines[0])
        log.warning(
            "The native recurrences cannot be built here (%s), so their Python version runs, several times slower.",
            reason,
        )
        return reason
    return ""


def loops() -> ModuleType | Any:
    """The native functions, or where they cannot be built those of `reference`, which have the same signatures."""
    return reference if reason_missing() else torch.ops.unrolled


def load(cache: Path | None = None) -> Path:
    """Load the time loops into torch.ops.unrolled from their library, after building it in ``cache`` if need be.

    Raises one of `FAILURES` where there is no compiler, it failed, or the folder, by default `cache_dir()`, cannot be
    written.
    """
    library = built(SOURCE, cache)
    if not hasattr(torch.ops.unrolled, "lstm_forward"):  # building loads as well, and twice would end the process
        torch.ops.load_library(str(library))
    return library


def built(source: Path, cache: Path | None = None, more: Sequence[str] = ()) -> Path:
    """The library of ``source``, built with ``more`` flags in ``cache`` if it is not there yet.

    Raises one of `FAILURES`.
    """
    library = (cache or cache_dir()) / f"{source.stem}-{_key(source, more)}.so"
    if not library.exists():
        with lock(library.with_suffix(".lock"), f"is building the native {source.stem}"):
            if not library.exists():
                _build(source, library, more)
    return library


def cache_dir() -> Path:
    """Where compiled libraries are kept."""
    return default_cache_dir() / "engines"


def _flags() -> list[str]:
    """Compiler flags: ATen's vectors as wide as the CPU has them."""
    capability = torch.backends.cpu.get_cpu_capability()
    if capability not in ("AVX512", "AVX2"):
        capability = "DEFAULT"
    flags = ["-O3", "-fopenmp", "-fno-math-errno", f"-DCPU_CAPABILITY={capability}", f"-DCPU_CAPABILITY_{capability}"]
    return [*flags, "-march=native" if platform.machine() in ("x86_64", "AMD64") else "-mcpu=native"]


def _key(source: Path, more: Sequence[str] = ()) -> str:
    """What the library depends on: the source, torch, Python, the flags, and the CPU that `native` stands for."""
    cpu = platform.machine()
    with contextlib.suppress(OSError):  # not Linux
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu += "".join(sorted({line for line in lines if line.startswith(("flags", "Features"))}))
    parts = [torch.__version__, sys.version, cpu, *_flags(), *more, os.environ.get("CXX", "c++")]
    return hashlib.sha256("\0".join(parts).encode() + source.read_bytes()).hexdigest()[:16]


def _build(source: Path, library: Path, more: Sequence[str]) -> None:
    """Compile into a folder of its own and move the result into place, so that nobody sees half a library."""
    from torch.utils import cpp_extension  # imports setuptools: only when there is something to build

    started = time.perf_counter()
    log.info("Building the native %s (once for this machine, at most about 20 s).", source.stem)
    with tempfile.TemporaryDirectory(dir=library.parent) as directory, _ninja_on_path():
        cpp_extension.load(
            f"unrolled_{source.stem}",
            [str(source)],
            extra_cflags=[*_flags(), *more],
            extra_ldflags=["-fopenmp"],
            build_directory=directory,
            is_python_module=False,
        )
        (built,) = (path for path in Path(directory).iterdir() if path.suffix in (".so", ".dylib"))
        shutil.copy(built, built.with_suffix(".copy"))
        built.with_suffix(".copy").replace(library)
    log.info("Built the native %s in %.0f s.", source.stem, time.perf_counter() - started)


@contextlib.contextmanager
def _ninja_on_path() -> Iterator[None]:
    """The build tool of the `ninja` package, also where its environment has not been activated."""
    before = os.environ.get("PATH", "")
    if importlib.util.find_spec("ninja"):
        import ninja

        os.environ["PATH"] = os.pathsep.join([ninja.BIN_DIR, before])
    try:
        yield
    finally:
        os.environ["PATH"] = before
