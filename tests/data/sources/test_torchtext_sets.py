"""In torchtext's own environment: its sets as a source, from a directory where their files lie already."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from unrolled.data.config import TextConfig, data_config
from unrolled.data.prepare import prepare
from unrolled.data.sources.source import Notes
from unrolled.data.sources.torchtext_sets import TorchtextSet
from unrolled.errors import UserError

pytestmark = pytest.mark.torchtext

TARGET = "unrolled.data.sources.torchtext_sets.TorchtextSet"

ROOT = Path(__file__).parents[3]


@pytest.fixture
def ag_news(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small AG_NEWS where torchtext looks for its files, with the checksums that torchtext then expects."""
    import hashlib

    import torchtext.datasets.ag_news as module

    directory = tmp_path / "datasets" / "AG_NEWS"
    directory.mkdir(parents=True)
    for split, count in (("train", 80), ("test", 20)):
        rows = [f'"{number % 4 + 1}","{split} {number}","topic{number % 4}, and more"\n' for number in range(count)]
        file = directory / f"{split}.csv"
        file.write_text("".join(rows))
        monkeypatch.setitem(module.MD5, split, hashlib.md5(file.read_bytes()).hexdigest())  # noqa: S324
    return tmp_path


def test_a_set_is_read_from_its_directory_without_network(ag_news: Path, tmp_path: Path) -> None:
    source = TorchtextSet("AG_NEWS", root=str(ag_news))
    source.fetch(tmp_path)
    documents = list(source.documents("train", Notes()))
    assert len(documents) == 80
    assert documents[5] == ("train 5 topic1, and more", "2", 6)
    data = prepare(data_config(_target_=TARGET, root=str(ag_news)), TextConfig(), 0, tmp_path / "cache")
    assert data.labels == ["1", "2", "3", "4"]
    assert [len(data.train), len(data.valid), len(data.test)] == [72, 8, 20]


def test_what_torchtext_does_not_have_is_named() -> None:
    with pytest.raises(UserError, match=r"data\.name must be one of AG_NEWS, .* got 'AG'"):
        TorchtextSet("AG")
    with pytest.raises(UserError, match=r"data\.valid=dev: AG_NEWS of torchtext has the splits train, test"):
        TorchtextSet("AG_NEWS", valid="dev")


def test_a_model_trains_end_to_end_on_its_set_with_its_tokenizer_and_vocabulary(ag_news: Path, tmp_path: Path) -> None:
    """The program itself, in a process of its own that expects the small set's checksums as the fixture does."""
    import torchtext.datasets.ag_news as module

    script = (
        "import runpy, sys, torchtext\n"
        "torchtext.disable_torchtext_deprecation_warning()\n"
        "import torchtext.datasets.ag_news as module\n"
        f"module.MD5.update({dict(module.MD5)!r})\n"
        f"sys.argv[0] = {str(ROOT / 'train.py')!r}\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    keys = ["data=torchtext", "data.name=AG_NEWS", f"data.root={ag_news}", f"data.cache_dir={tmp_path / 'cache'}"]
    keys += [
        "text=torchtext",
        "optimizer.fused=false",
        "optimizer.lr=0.02",
        "tbptt.batch_size=8",
        "trainer.max_epochs=6",
    ]
    keys += ["trainer.accelerator=cpu", f"output_dir={tmp_path / 'runs'}", "model.hidden_size=16", "model.proj_size=8"]
    done = subprocess.run([sys.executable, "-c", script, *keys], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    (file,) = (tmp_path / "runs").glob("*/*/results.json")
    result = json.loads(file.read_text())
    assert result["status"] == "ok"
    assert result["metrics"]["test/accuracy"] > 0.9, "the classes have a word of their own each"
