"""Fuzz target of the CSV path: no file and no setting may end in anything but prepared data or one clear sentence.

    python tests/fuzz/csv_path.py --inputs 100000

Not part of the test suite. Each input is a file, well-formed or mutilated, with settings of the reader; it goes all the
way from bytes through records, tokens and the cache to splits and vocabulary. Hypothesis chooses the inputs, and makes
a failing one small. The seed in the report repeats a run.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from unrolled.data.config import TextConfig, data_config
from unrolled.data.prepare import prepare
from unrolled.errors import UserError

ENCODINGS = [
    "utf-8",
    "utf-8-sig",
    "utf-16",
    "utf-16-le",
    "utf-16-be",
    "utf-32",
    "cp1252",
    "latin-1",
    "shift_jis",
    "utf-7",
]
NASTY = st.sampled_from(
    ["", '"', '""', ",", ";", "\t", "|", "\n", "\r", "\r\n", "\0", "\ufeff", "\\", "'", "<unk>", "<pad>", "<br />", " ",
     "é", "春", "\u2028", "\x85", "\x1c", "👩‍👩‍👧", "text", "label", "İ", "word " * 40, "x" * 300]
)  # fmt: skip
FIELD = st.lists(st.one_of(NASTY, st.text(max_size=6)), max_size=3).map("".join)
LABEL = st.one_of(*[st.sampled_from(["a", "b", "1"])] * 9, FIELD)
HEADERS = [["text", "label"]] * 9 + [
    ["label", "text"],
    ["id", "Review", "Sentiment"],
    ["text", "text", "label"],
    ["a"],
    [],
]


@st.composite
def tables(draw: st.DrawFn) -> bytes:
    """A table as some program may have written it."""
    header = draw(st.sampled_from(HEADERS))
    cells = [LABEL if name in ("label", "Sentiment") else FIELD for name in header] or [FIELD, LABEL]
    rows = draw(st.lists(st.tuples(*cells), min_size=1, max_size=8)) * draw(st.integers(1, 12))
    out = io.StringIO(newline="")
    writer = csv.writer(
        out,
        delimiter=draw(st.sampled_from(",;\t|")),
        lineterminator=draw(st.sampled_from(["\n", "\r\n", "\r"])),
        quoting=draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])),
    )
    writer.writerows([header, *rows] if header else rows)
    return out.getvalue().encode(draw(st.sampled_from(["utf-8"] * 8 + ENCODINGS)), errors="replace")


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """A table, mutilated or not, packed or not, or bytes without any sense."""
    content = draw(st.one_of(*[tables()] * 7, st.binary(max_size=60)))
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2, 3]))):
        at = draw(st.integers(0, len(content)))
        action = draw(st.sampled_from(["insert", "delete", "cut", "double"]))
        if action == "insert":
            content = (
                content[:at]
                + draw(st.one_of(st.binary(max_size=3), st.sampled_from([b'"', b"\0", b",", b"\xff"])))
                + content[at:]
            )
        elif action == "delete":
            content = content[:at] + content[at + draw(st.integers(1, 5)) :]
        elif action == "cut":
            content = content[:at]
        else:
            content = content[:at] + content
    if draw(st.integers(0, 9)) == 0:
        content = gzip.compress(content, 1)
        at = draw(st.integers(0, len(content)))
        content = draw(st.sampled_from([content, content[:at], content[:at] + b"\x07" + content[at:]]))
    return content


COLUMN = st.one_of(st.none(), st.sampled_from(["text", "label", "Review", "nope", 1, 2, 3]))
KEYS = st.fixed_dictionaries(
    {},
    optional={
        "text_column": st.one_of(COLUMN, st.lists(st.sampled_from(["text", 1, 2]), max_size=2)),
        "label_column": COLUMN,
        "group_column": COLUMN,
        "valid_part": st.sampled_from(["random", "first", "last"]),
        "delimiter": st.sampled_from([None, ",", "tab", ";", "x", "é", " "]),
        "quoting": st.booleans(),
        "header": st.booleans(),
        "encoding": st.sampled_from([None, *ENCODINGS, "ascii", "gb18030"]),
        "empty": st.sampled_from(["keep", "drop"]),
        "bad_rows": st.sampled_from(["stop", "drop"]),
        "limit": st.integers(1, 9),
        "fold": st.integers(0, 4),
        "max_tokens": st.integers(1, 5),
        "cut": st.sampled_from(["head", "tail", "head+tail"]),
    },
)
TEXT = st.builds(
    TextConfig,
    kind=st.sampled_from(["words", "whitespace", "characters", "bytes"]),
    normalization=st.sampled_from([None, "NFC", "NFKD"]),
    max_size=st.one_of(st.none(), st.integers(3, 9)),
    min_count=st.integers(1, 2),
)


def read(directory: Path, content: bytes, keys: dict[str, Any], text: TextConfig, test: bool) -> str:
    """Put one input through; says how it ended. Anything but success or a `UserError` of one line is raised."""
    path = directory / "input.csv"
    path.write_bytes(content)
    cache = directory / "cache"
    try:
        given_test = {"test": str(path)} if test else {}
        table = data_config(_target_="unrolled.data.sources.files.CsvFiles", train=str(path), **given_test, **keys)
        data = prepare(table, text, 0, cache)
    except UserError as error:
        message = str(error)
        assert message.isprintable(), f"the message is not one printable line: {message!r}"
        assert len(message) < 2000, f"the message has {len(message)} characters"
        return "refused"
    finally:
        shutil.rmtree(cache, ignore_errors=True)
    for part in (data.train, data.valid, data.test):
        assert len(part) > 0
        assert int(part.labels.max()) < len(data.labels)
        ids = np.concatenate([part.document(index) for index in range(len(part))])
        assert not len(ids) or 1 <= int(ids.min()) <= int(ids.max()) < len(data.vocabulary)
    data.vocabulary.save(directory / "vocabulary.txt")
    assert data.vocabulary.load(directory / "vocabulary.txt").tokens == data.vocabulary.tokens
    return "prepared"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    ends: Counter[str] = Counter()
    began = time.perf_counter()
    memory = Path("/dev/shm")  # noqa: S108  # files in memory: the cache waits for the disk each time
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as directory:

        @seed(arguments.seed)
        @settings(
            max_examples=arguments.inputs,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            report_multiple_bugs=False,
        )
        @given(
            content=files(), keys=st.one_of(st.just({}), KEYS), text=TEXT, test=st.sampled_from([False, False, True])
        )
        def target(content: bytes, keys: dict[str, Any], text: TextConfig, test: bool) -> None:
            ends[read(Path(directory), content, keys, text, test)] += 1

        target()
    seconds = time.perf_counter() - began
    print(f"{ends.total():,} inputs in {seconds:.0f} s (seed {arguments.seed}): {dict(ends)}, nothing else")
    return 0


if __name__ == "__main__":
    sys.exit(main())
