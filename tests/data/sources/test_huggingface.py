from __future__ import annotations

import sys
from pathlib import Path

import datasets
import pytest

from unrolled.data.sources.huggingface import HuggingFace
from unrolled.data.sources.source import Document, Notes
from unrolled.errors import UserError


def saved(tmp_path: Path, labels: list[int]) -> Path:
    """A data set with named classes, as `save_to_disk` writes it."""
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["neg", "pos"])})
    train = datasets.Dataset.from_dict({"text": ["good", "bad", "ok"], "label": labels}, features=features)
    test = datasets.Dataset.from_dict({"text": ["so so"], "label": [0]}, features=features)
    datasets.DatasetDict({"train": train, "test": test}).save_to_disk(str(tmp_path / "reviews"))
    return tmp_path / "reviews"


def test_a_saved_data_set_comes_with_its_splits_and_the_names_of_its_classes(tmp_path: Path) -> None:
    source = HuggingFace(str(saved(tmp_path, [1, 0, 1])))
    source.fetch(tmp_path)
    assert source.splits() == ("train", "test")
    assert list(source.documents("train", Notes())) == [
        Document("good", "pos", 1),
        Document("bad", "neg", 2),
        Document("ok", "pos", 3),
    ]
    assert list(source.documents("test", Notes())) == [Document("so so", "neg", 1)]
    other = HuggingFace(str(saved(tmp_path / "other", [1, 0, 0])))
    other.fetch(tmp_path)
    assert other.fingerprint() != source.fingerprint()


def test_what_is_missing_is_said_with_a_way_out(tmp_path: Path) -> None:
    path = saved(tmp_path, [1, 0, -1])
    source = HuggingFace(str(path), test=None)
    source.fetch(tmp_path)
    assert source.splits() == ("train",)
    with pytest.raises(UserError, match=r"reviews\[train\], record 3: column 'label' has no label"):
        list(source.documents("train", Notes()))
    with pytest.raises(UserError, match=r"has no split data\.train=learn; it has train, test"):
        HuggingFace(str(path), train="learn").fetch(tmp_path)
    (tmp_path / "nothing").mkdir()
    with pytest.raises(UserError, match=r"data\.path=.*nothing could not be loaded"):
        HuggingFace(str(tmp_path / "nothing")).fetch(tmp_path)


def test_without_the_library_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)  # Python's own way to say that a module cannot be imported
    with pytest.raises(UserError, match=r"data=huggingface needs the package datasets.*'\.\[hub\]'"):
        HuggingFace("imdb")


def test_a_column_of_groups_is_read_beside_text_and_class(tmp_path: Path) -> None:
    rows = {"text": ["a", "b", "c"], "label": ["x", "y", "x"], "thread": ["t1", None, "t1"]}
    datasets.Dataset.from_dict(rows).save_to_disk(str(tmp_path / "threads"))
    source = HuggingFace(str(tmp_path / "threads"), group_column="thread")
    source.fetch(tmp_path)
    documents = list(source.documents("train", Notes()))
    assert [document.group for document in documents] == ["t1", "", "t1"]
    assert [(document.text, document.label) for document in documents] == [("a", "x"), ("b", "y"), ("c", "x")]
