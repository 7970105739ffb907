from __future__ import annotations

import logging
import os
import resource
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from unrolled.data.cache import token_cache
from unrolled.data.tokenizer import build_tokenizer
from unrolled.errors import UserError

ROOT = Path(__file__).parents[2]
TRAIN = [("the cat sat", "b"), ("", "10"), ("a dog sat on the cat", "9"), ("Über 'n", "b")]
TEST = [("the zebra", "9")]
WORDS = build_tokenizer("words")
documents = st.lists(st.tuples(st.text(max_size=20), st.text(max_size=3)), min_size=1, max_size=8)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(train=documents, test=documents, kind=st.sampled_from(["words", "characters", "bytes", "whitespace"]))
def test_every_document_comes_back_as_its_tokens(
    list_source: Callable[..., Any],
    tmp_path_factory: pytest.TempPathFactory,
    train: list[tuple[str, str]],
    test: list[tuple[str, str]],
    kind: str,
) -> None:
    tokenizer = build_tokenizer(kind)
    cache = token_cache(list_source(train=train, test=test), tokenizer, tmp_path_factory.mktemp("cache"))
    assert cache.types == sorted({token for text, _ in train + test for token in tokenizer(text)})
    for name, given_documents in (("train", train), ("test", test)):
        split = cache.splits[name]
        assert len(split.starts) == len(given_documents)
        for index, (text, label) in enumerate(given_documents):
            start, length = split.starts[index], split.lengths[index]
            assert [cache.types[number] for number in split.tokens[start : start + length]] == tokenizer(text)
            assert cache.labels[split.labels[index]] == label


def test_whole_numbers_as_labels_stand_in_order_of_value(list_source: Callable[..., Any], tmp_path: Path) -> None:
    assert token_cache(list_source(train=TRAIN), WORDS, tmp_path).labels == ["9", "10", "b"]


def test_tokens_are_mapped_narrow_and_not_read_into_memory(list_source: Callable[..., Any], tmp_path: Path) -> None:
    tokens = token_cache(list_source(train=TRAIN), WORDS, tmp_path).splits["train"].tokens
    assert isinstance(tokens, np.memmap)
    assert tokens.dtype == np.uint8


def test_a_second_run_reads_no_document(list_source: Callable[..., Any], tmp_path: Path) -> None:
    source = list_source(train=TRAIN, test=TEST)
    first = token_cache(source, WORDS, tmp_path)
    again = token_cache(source, WORDS, tmp_path)
    assert source.reads == 2, "train and test once each"
    assert again.types == first.types
    assert again.path == first.path


def test_other_contents_and_other_settings_are_other_entries(list_source: Callable[..., Any], tmp_path: Path) -> None:
    paths = {
        token_cache(list_source(train=TRAIN), WORDS, tmp_path).path,
        token_cache(list_source(train=TRAIN[:3]), WORDS, tmp_path).path,
        token_cache(list_source(train=TRAIN), build_tokenizer("words", "NFC"), tmp_path).path,
        token_cache(list_source(train=TRAIN), build_tokenizer("bytes"), tmp_path).path,
    }
    assert len(paths) == 4


@pytest.mark.parametrize("file", ["train.tokens.npy", "types.json", "train.starts.npy", "meta.json"])
@pytest.mark.parametrize("damage", ["flip", "truncate", "delete"])
def test_a_damaged_entry_is_built_again_with_a_message(
    list_source: Callable[..., Any], tmp_path: Path, caplog: pytest.LogCaptureFixture, file: str, damage: str
) -> None:
    source = list_source(train=TRAIN)
    first = token_cache(source, WORDS, tmp_path)
    tokens = first.splits["train"].tokens.tolist()
    path = first.path / file
    content = bytearray(path.read_bytes())
    if damage == "delete":
        path.unlink()
    elif damage == "truncate":
        path.write_bytes(content[:-1])
    else:
        content[-3] ^= 1
        path.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        again = token_cache(source, WORDS, tmp_path)
    assert again.splits["train"].tokens.tolist() == tokens
    assert source.reads == 2
    assert "damaged" in caplog.text


def test_runs_that_want_the_same_entry_at_once_build_it_once(list_source: Callable[..., Any], tmp_path: Path) -> None:
    source = list_source(train=TRAIN * 200)
    caches: list[Any] = []
    threads = [threading.Thread(target=lambda: caches.append(token_cache(source, WORDS, tmp_path))) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert source.reads == 1
    assert {cache.path for cache in caches} == {caches[0].path}
    assert len(caches) == 5


def test_what_a_killed_run_left_is_cleared_and_never_read(list_source: Callable[..., Any], tmp_path: Path) -> None:
    source = list_source(train=TRAIN)
    entry = token_cache(source, WORDS, tmp_path).path
    left = entry.with_name(f".building-{entry.name.rpartition('-')[2]}-0123")
    entry.rename(left)
    (left / "meta.json").unlink()
    token_cache(source, WORDS, tmp_path)
    assert source.reads == 2
    assert not left.exists()


def test_no_room_leaves_nothing_behind_and_says_so(list_source: Callable[..., Any], tmp_path: Path) -> None:
    """A limit on the size of files stands for the full disk: the kernel refuses the write in the same way."""
    source = list_source(train=TRAIN * 3000)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(UserError, match=r"cannot write to the data cache .* limit on the size of files"):
            token_cache(source, WORDS, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.name for path in (tmp_path / "tokens").iterdir() if path.is_dir()] == []
    assert len(token_cache(source, WORDS, tmp_path).splits["train"].starts) == 12_000


def test_an_error_while_reading_leaves_nothing_behind(list_source: Callable[..., Any], tmp_path: Path) -> None:
    source = list_source(train=[("a b", "x"), ("no label",)])
    with pytest.raises(ValueError, match="unpack"):
        token_cache(source, WORDS, tmp_path)
    assert [path.name for path in (tmp_path / "tokens").iterdir() if path.is_dir()] == []


def test_make_clean_cache_removes_the_data_and_nothing_beside_them(
    list_source: Callable[..., Any], tmp_path: Path
) -> None:
    cache = tmp_path / "of mine"
    source = list_source(train=TRAIN)
    token_cache(source, WORDS, cache)
    (cache / "mine.txt").write_text("kept")
    ready = tmp_path / "ready"
    ready.touch()

    def clean(directory: object) -> subprocess.CompletedProcess[str]:
        command = ["make", "clean-cache", f"READY={ready}", f"BIN={Path(sys.executable).parent}"]
        environment = os.environ | {"UNROLLED_CACHE": str(directory), "PYTHONPATH": str(ROOT / "src")}
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)

    assert f"There are no data left in {cache}" in clean(cache).stdout
    assert [path.name for path in cache.iterdir()] == ["mine.txt"]
    assert clean("~no-such-user/cache").stderr.startswith("error: UNROLLED_CACHE=~no-such-user/cache: there is no such")
    token_cache(source, WORDS, cache)
    assert source.reads == 2
