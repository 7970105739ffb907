"""In torchtext's own environment: its sets as a source, from a directory where their files lie already."""

from __future__ import annotations

from pathlib import Path

import pytest

from unrolled.data.config import TextConfig, TorchtextSetConfig
from unrolled.data.prepare import prepare
from unrolled.data.sources.source import Notes
from unrolled.data.sources.torchtext_sets import TorchtextSet
from unrolled.errors import UserError

pytestmark = pytest.mark.torchtext


@pytest.fixture
def ag_news(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small AG_NEWS where torchtext looks for its files, with the checksums that torchtext then expects."""
    import hashlib

    import torchtext.datasets.ag_news as module

    directory = tmp_path / "datasets" / "AG_NEWS"
    directory.mkdir(parents=True)
    for split, count in (("train", 40), ("test", 8)):
        rows = [f'"{number % 4 + 1}","{split} {number}","words, and more"\n' for number in range(count)]
        file = directory / f"{split}.csv"
        file.write_text("".join(rows))
        monkeypatch.setitem(module.MD5, split, hashlib.md5(file.read_bytes()).hexdigest())  # noqa: S324
    return tmp_path


def test_a_set_is_read_from_its_directory_without_network(ag_news: Path, tmp_path: Path) -> None:
    source = TorchtextSet("AG_NEWS", root=str(ag_news))
    source.fetch(tmp_path)
    documents = list(source.documents("train", Notes()))
    assert len(documents) == 40
    assert documents[5] == ("train 5 words, and more", "2")
    data = prepare(TorchtextSetConfig(root=str(ag_news)), TextConfig(), 0, tmp_path / "cache")
    assert data.labels == ["1", "2", "3", "4"]
    assert [len(data.train), len(data.valid), len(data.test)] == [36, 4, 8]


def test_what_torchtext_does_not_have_is_named() -> None:
    with pytest.raises(UserError, match=r"data\.name must be one of AG_NEWS, .* got 'AG'"):
        TorchtextSet("AG")
    with pytest.raises(UserError, match=r"data\.valid=dev: AG_NEWS of torchtext has the splits train, test"):
        TorchtextSet("AG_NEWS", valid="dev")
