from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from unrolled.data.sources.folder import Folder
from unrolled.data.sources.source import Document, Notes
from unrolled.errors import UserError


def put(path: Path, content: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    put(tmp_path / "reviews" / "pos" / "b.txt", "good")
    put(tmp_path / "reviews" / "pos" / "a.txt.gz", gzip.compress(b"fine\nindeed"))
    put(tmp_path / "reviews" / "neg" / "2020" / "x", "bäd".encode("utf-16"))
    put(tmp_path / "reviews" / "neg" / ".hidden", "no document")
    put(tmp_path / "reviews" / "README", "no document")
    return tmp_path / "reviews"


def test_directories_are_classes_and_files_documents(reviews: Path) -> None:
    documents = list(Folder(str(reviews)).documents("train", Notes()))
    assert documents == [Document("bäd", "neg", 1), Document("fine\nindeed", "pos", 2), Document("good", "pos", 3)]


def test_the_key_of_the_cache_follows_contents_and_names(reviews: Path) -> None:
    prints = [Folder(str(reviews)).fingerprint()]
    put(reviews / "pos" / "b.txt", "goog")
    prints.append(Folder(str(reviews)).fingerprint())
    (reviews / "pos" / "b.txt").rename(reviews / "neg" / "b.txt")
    prints.append(Folder(str(reviews)).fingerprint())
    (reviews / "neg").rename(reviews / "negative")
    prints.append(Folder(str(reviews)).fingerprint())
    assert all(one != other for index, one in enumerate(prints) for other in prints[:index])
    assert prints[-1] == Folder(str(reviews)).fingerprint()


def test_splits_have_directories_of_their_own(reviews: Path, tmp_path: Path) -> None:
    put(tmp_path / "test" / "pos" / "1", "ok")
    source = Folder(str(reviews), test=str(tmp_path / "test"))
    assert source.splits() == ("train", "test")
    assert list(source.documents("test", Notes())) == [Document("ok", "pos", 1)]


@pytest.mark.parametrize(("content", "said"), [(b"d\xe9j\xe0", "not text in UTF-8"), (b"a\0b", "NUL characters")])
def test_a_file_that_is_no_text_stops_or_is_dropped(reviews: Path, content: bytes, said: str) -> None:
    put(reviews / "pos" / "c.txt", content)
    with pytest.raises(UserError, match=rf"c\.txt: .*{said}.*data\.bad_rows=drop"):
        list(Folder(str(reviews)).documents("train", Notes()))
    notes = Notes()
    assert len(list(Folder(str(reviews), bad_rows="drop").documents("train", notes))) == 3
    assert sum(notes.counts.values()) == 1


def test_blank_files_are_kept_or_dropped(reviews: Path) -> None:
    put(reviews / "pos" / "c.txt", " \n")
    assert len(list(Folder(str(reviews)).documents("train", Notes()))) == 4
    assert len(list(Folder(str(reviews), empty="drop").documents("train", Notes()))) == 3


def test_what_is_no_such_directory_is_refused(reviews: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data\.train=.*nowhere does not exist"):
        Folder(str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match=r"README is a file, not a directory of directories.*data=csv"):
        Folder(str(reviews / "README"))
    with pytest.raises(UserError, match="holds no directories; one for each class is needed"):
        Folder(str(reviews / "pos"))
    put(tmp_path / "imdb" / "train" / "pos" / "1", "x")
    put(tmp_path / "imdb" / "test" / "pos" / "1", "x")
    with pytest.raises(UserError, match=r"holds test, train, which are splits.*data\.train=.*imdb/train"):
        Folder(str(tmp_path / "imdb"))
    assert Folder(str(tmp_path / "imdb" / "train")).name == "imdb"
    (tmp_path / "bare" / "pos").mkdir(parents=True)
    with pytest.raises(UserError, match="holds no files in its directories pos"):
        Folder(str(tmp_path / "bare"))
