"""Files as people have them, good and bad. The oracle of what a good file holds is the table it was written from."""

from __future__ import annotations

import bz2
import codecs
import csv
import gzip
import io
import string
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from unrolled.data.sources.build import build_source
from unrolled.data.sources.files import CsvFiles
from unrolled.data.sources.source import Notes
from unrolled.errors import UserError

ROWS = [("fine, really", "pos"), ('he said "no"', "neg"), ("two\nlines", "pos"), ("naïve 春", "neg")]


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def table(rows: list[tuple[str, ...]], names: tuple[str, ...] = ("text", "label"), **style: Any) -> str:
    out = io.StringIO(newline="")
    csv.writer(out, **style).writerows([names, *rows])
    return out.getvalue()


def read(path: Path, notes: Notes | None = None, **keys: Any) -> list[tuple[str, str]]:
    source = CsvFiles(str(path), **keys)
    source.fingerprint()
    return [(document.text, document.label) for document in source.documents("train", notes or Notes())]


def refusal(content: str | bytes, tmp_path: Path, **keys: Any) -> str:
    """The one message with which a file is refused; it starts with the file's name."""
    path = write(tmp_path / "reviews.csv", content)
    with pytest.raises(UserError) as refused:
        read(path, **keys)
    message = str(refused.value)
    assert "\n" not in message
    assert "reviews.csv" in message
    return message


@pytest.mark.parametrize("delimiter", [",", "\t", ";", "|"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_any_delimiter_line_end_and_unicode_encoding_is_found(
    tmp_path: Path, delimiter: str, line_end: str, encoding: str
) -> None:
    content = table(ROWS, delimiter=delimiter, lineterminator=line_end, quoting=csv.QUOTE_ALL).encode(encoding)
    assert read(write(tmp_path / "a", content)) == ROWS
    assert read(write(tmp_path / "a.gz", gzip.compress(content))) == ROWS


fields = st.text(
    st.one_of(st.sampled_from(',;\t|"\r\n #\ufeff'), st.characters(codec="utf-8", exclude_characters="\0"))
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(
    rows=st.lists(st.tuples(fields, fields.filter(str.strip)), min_size=1, max_size=6),
    delimiter=st.sampled_from(",;\t|^"),
    style=st.sampled_from([("\r\n", csv.QUOTE_MINIMAL), *((end, csv.QUOTE_ALL) for end in ("\n", "\r\n", "\r"))]),
)
def test_what_was_written_is_read(
    tmp_path: Path, rows: list[tuple[str, str]], delimiter: str, style: tuple[str, int]
) -> None:
    """Any text and any label."""
    path = write(tmp_path / "a.csv", table(rows, delimiter=delimiter, lineterminator=style[0], quoting=style[1]))
    assert read(path, delimiter=delimiter) == rows


def test_other_encodings_are_read_when_named(tmp_path: Path) -> None:
    content = table([("déjà vu", "bon"), ("œuf", "bon")]).encode("cp1252")
    path = write(tmp_path / "reviews.csv", content)
    assert read(path, encoding="cp1252") == [("déjà vu", "bon"), ("œuf", "bon")]
    with pytest.raises(UserError, match=r"data\.encoding=klingon is not a text encoding"):
        read(path, encoding="klingon")


def test_bytes_of_another_encoding_are_named_with_file_record_line_and_column(tmp_path: Path) -> None:
    content = b'label,text\npos,fine\nneg,"two\nlines"\npos,d\xe9j\xe0 vu\n'
    message = refusal(content, tmp_path)
    assert "reviews.csv, record 3 (line 5), column 'text': the bytes e9 are not UTF-8; set data.encoding" in message
    wrong = "label,text\npos,fine\n".encode("utf-16") + b"\x00\xd8\x41\x00"
    assert "record 2 (line 3), field 1" in refusal(wrong, tmp_path) or "record 2 (line 3)" in refusal(wrong, tmp_path)


def test_columns_are_found_by_common_names_or_taken_as_set(tmp_path: Path) -> None:
    names = ("Id", " Title ", "Review", "Sentiment")
    path = write(tmp_path / "a.csv", table([("1", "t", "r", "s")], names))
    assert read(path) == [("r", "s")]
    assert read(path, text_column="Title") == [("t", "s")]
    assert read(path, text_column=["Title", "Review"], label_column=1) == [("t r", "1")]
    assert read(path, text_column=4, label_column="Id") == [("s", "1")]
    two = write(tmp_path / "b.csv", table([("some words", "x")], ("utterance", "label")))
    assert read(two) == [("some words", "x")]


def test_a_file_without_header_is_read_by_number(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "pos,a long text\nneg,another text\n")
    assert read(path, header=False) == [("a long text", "pos"), ("another text", "neg")]
    assert read(path, header=False, text_column=1, label_column=2)[0] == ("pos", "a long text")
    message = refusal("pos,a long text,7\nneg,another text,8\n", tmp_path)
    assert "no column looks like the text (data.text_column) or the class (data.label_column)" in message
    assert "'pos', 'a long text', '7'" in message
    assert "data.header=false" in message


def test_columns_that_are_not_there_or_twice_or_the_same_are_refused(tmp_path: Path) -> None:
    content = table([("a", "b", "c")], ("text", "text", "label"))
    assert "line 1: 2 columns are called 'text' (numbers 1 and 2)" in refusal(content, tmp_path)
    assert "2 columns are called 'text'" in refusal(content, tmp_path, text_column="text")
    assert read(tmp_path / "reviews.csv", text_column=2) == [("b", "c")]
    message = refusal(content, tmp_path, text_column=1, label_column="labl")
    assert "there is no column data.label_column=labl; the columns are 'text', 'text', 'label'" in message
    assert "there is no column data.text_column=9" in refusal(content, tmp_path, text_column=9)
    assert "is both text and class" in refusal(content, tmp_path, text_column=3, label_column=3)
    for wrong in (0, True, 1.5, ["text", None]):
        with pytest.raises(UserError, match=r"data\.text_column must be a name, a number from 1, or a list"):
            read(tmp_path / "reviews.csv", text_column=wrong)


def test_ragged_rows_stop_or_are_dropped_and_counted(tmp_path: Path) -> None:
    content = "text,label\nfine,pos\nwell, well,neg\nshort\nok,pos,\n"
    message = refusal(content, tmp_path)
    assert "reviews.csv, record 2 (line 3): it has 3 fields where the header has 2" in message
    assert "data.bad_rows=drop" in message
    notes = Notes()
    assert read(tmp_path / "reviews.csv", notes, bad_rows="drop") == [("fine", "pos"), ("ok", "pos")]
    (note,) = notes.as_dict().items()
    assert note[0] == "row with another number of fields dropped"
    assert note[1]["count"] == 2
    assert note[1]["first"].endswith("record 2 (line 3)")


@pytest.mark.parametrize("rest", ["neg\nmore,pos\n", 'neg\n"more",pos\n', 'neg\n"more"and,pos\n'])
def test_a_quote_that_is_not_closed_is_named_with_its_record_and_column(tmp_path: Path, rest: str) -> None:
    message = refusal('text,label\nfine,pos\n"open,' + rest, tmp_path)
    assert "reviews.csv, record 2 (line 3) to line " in message
    assert "column 'text': a quoted field is not closed properly" in message
    assert "data.quoting=false" in message


def test_quotes_are_characters_where_they_mean_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", 'text\tlabel\n"open\tneg\n5" disk\tpos\n')
    assert read(path, quoting=False) == [('"open', "neg"), ('5" disk', "pos")]


def test_an_unclosed_quote_in_a_large_file_does_not_fill_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unrolled.data.readers.csv_reader.LONGEST_FIELD", 5_000)
    message = refusal('text,label\nfine,pos\n"open,neg\n' + "more words,pos\n" * 10_000, tmp_path)
    assert "record 2 (line 3) to line 3" in message  # a line of 5,000 characters further on, not of 150,000
    assert "not closed" in message
    message = refusal("text,label\nfine,pos\n" + "word " * 2000 + ",neg\n", tmp_path)
    assert "record 2 (line 3) has more than 5,000 characters in a line" in message


def test_nul_characters_and_utf_16_without_a_mark(tmp_path: Path) -> None:
    message = refusal("text,label\nfine,pos\nbro\0ken,neg\n", tmp_path)
    assert "record 2 (line 3): column 'text' contains a NUL character" in message
    assert read(tmp_path / "reviews.csv", bad_rows="drop") == [("fine", "pos")]


def test_missing_labels_stop_or_are_dropped(tmp_path: Path) -> None:
    content = "text,label\nfine,pos\nbad,\nbad, \n"
    assert "record 2 (line 3): the label is missing" in refusal(content, tmp_path)
    notes = Notes()
    assert read(tmp_path / "reviews.csv", notes, bad_rows="drop") == [("fine", "pos")]
    assert notes.counts == {"row without label dropped": 2}


def test_blank_texts_are_kept_or_dropped_and_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "text,label\n,pos\nfine,pos\n \t,neg\n")
    kept, dropped = Notes(), Notes()
    assert read(path, kept) == [("", "pos"), ("fine", "pos"), (" \t", "neg")]
    assert kept.counts == {"blank text kept": 2}
    assert read(path, dropped, empty="drop") == [("fine", "pos")]
    assert dropped.counts == {"blank text dropped": 2}


def test_blank_lines_are_no_records(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "\n\ntext,label\n\nfine,pos\n\r\n\nbad,neg")
    assert read(path) == [("fine", "pos"), ("bad", "neg")]


def test_labels_are_kept_as_they_are_given(tmp_path: Path) -> None:
    labels = ["01", "1", " 1", "1.0", "päß", "a/b\\c", "[red]", "True"]
    rows = [("x", label) for label in labels]
    assert [label for _, label in read(write(tmp_path / "a.csv", table(rows)))] == labels


def test_fields_of_any_length_are_read(tmp_path: Path) -> None:
    """Beyond the csv module's 131,072 characters: a megabyte without a space, and 300,000 tokens."""
    rows = [("x" * 1_000_000, "long word"), ("word " * 300_000, "long document")]
    assert read(write(tmp_path / "a.csv", table(rows))) == rows


def test_files_that_are_not_there_or_no_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data\.train=.*nowhere\.csv does not exist"):
        CsvFiles(str(tmp_path / "nowhere.csv"))
    with pytest.raises(UserError, match=r"data\.train=.* is a directory.*data=folder"):
        CsvFiles(str(tmp_path))
    good = write(tmp_path / "good.csv", table(ROWS))
    with pytest.raises(UserError, match=r"data\.test=.*nowhere\.csv does not exist"):
        CsvFiles(str(good), test=str(tmp_path / "nowhere.csv"))
    with pytest.raises(UserError, match=r"data\.train='a\\x00b' contains characters that cannot be printed"):
        CsvFiles("a\0b")
    with pytest.raises(UserError, match=r"data\.train=a+ is not a usable path"):
        CsvFiles("a" * 5000)
    assert "is empty" in refusal("", tmp_path)
    assert "blank lines only" in refusal("\n\r\n", tmp_path)
    assert read(write(tmp_path / "header.csv", "text,label\n")) == []


def test_archives_and_damaged_gzip_files_are_named(tmp_path: Path) -> None:
    packed = gzip.compress(table([(f"{string.ascii_letters}{number}", "x") for number in range(999)]).encode())
    assert "its gzip data end too early" in refusal(packed[:-9], tmp_path)
    assert "its gzip data end too early" in refusal(packed[:5], tmp_path)
    broken = bytearray(packed)
    broken[len(packed) // 2] ^= 255
    assert "corrupt" in refusal(bytes(broken), tmp_path)
    assert "zip archive or an Excel workbook" in refusal(b"PK\x03\x04" + b"x" * 40, tmp_path)
    assert "Parquet file; choose data=parquet" in refusal(b"PAR1" + b"x" * 40, tmp_path)
    assert refusal(bz2.compress(b"text,label\nfine,pos\n"), tmp_path)


def test_a_single_column_and_a_delimiter_that_is_none_are_refused(tmp_path: Path) -> None:
    assert "no comma, tab, semicolon or bar divides the lines" in refusal("text\nfine\n", tmp_path)
    assert "there is one column only, 'text;label', with a tab" in refusal(
        "text;label\na;b\n", tmp_path, delimiter="tab"
    )
    for wrong in ("", '"', ",,", "\n"):
        with pytest.raises(UserError, match=r"data\.delimiter must be one character"):
            read(tmp_path / "reviews.csv", delimiter=wrong)


@pytest.mark.parametrize("source", ["files.CsvFiles", "folder.Folder"])
def test_wrong_choices_name_the_key(source: str) -> None:
    keys = {"_target_": f"unrolled.data.sources.{source}", "train": "a"}
    with pytest.raises(UserError, match=r"data\.empty=maybe: must be one of keep, drop"):
        build_source({**keys, "empty": "maybe"})
    with pytest.raises(UserError, match=r"data\.bad_rows=fix: must be one of stop, drop"):
        build_source({**keys, "bad_rows": "fix"})


def test_the_cache_key_follows_content_and_reading(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", table(ROWS))
    prints = [CsvFiles(str(path)).fingerprint(), CsvFiles(str(path), quoting=False).fingerprint()]
    prints += [CsvFiles(str(path), test=str(path)).fingerprint()]
    write(path, codecs.BOM_UTF8 + table(ROWS).encode())
    prints.append(CsvFiles(str(path)).fingerprint())
    assert all(one != other for index, one in enumerate(prints) for other in prints[:index])
