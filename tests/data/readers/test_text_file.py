from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.data.readers.text_file import DecodingError, decoded_lines

TEXT = "a\r\nb\rc\n\r\n\rdé春\r\r\n" * 3 + "end"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "gb18030"])
@pytest.mark.parametrize("before", [0, 8188, 8189, 8190, 8191])  # the standard library decodes 8,192 bytes at once
def test_lines_end_where_they_should_and_keep_their_ends(encoding: str, before: int) -> None:
    text = "x" * before + TEXT
    stream = io.BufferedReader(io.BytesIO(text.encode(encoding)))  # type: ignore[arg-type]
    found = list(decoded_lines(stream, None if encoding.startswith("utf") else encoding))
    assert found == list(io.StringIO(text, newline=""))


@given(before=st.text(st.characters(codec="utf-8", exclude_characters="\ufeff")), after=st.binary())
def test_wrong_bytes_are_located_and_all_lines_before_them_are_given(before: str, after: bytes) -> None:
    """Wherever they stand, and whatever comes behind them."""
    *whole, last = [*io.StringIO(before, newline=""), ""]
    if whole and whole[-1][-1] not in "\r\n":
        last = whole.pop()
    found: list[str] = []
    with pytest.raises(DecodingError, match="the bytes ff are not UTF-8") as error:
        found.extend(decoded_lines(io.BytesIO(before.encode() + b"\xff" + after), "utf-8"))
    assert (found, error.value.before, error.value.line) == (whole, last, len(whole) + 1)


def test_two_files_are_read_at_once() -> None:
    one = decoded_lines(io.BytesIO(b"a\n\xe9"), "utf-8")
    other = decoded_lines(io.BytesIO(b"b\n\xff"), "utf-8")
    assert [next(one), next(other)] == ["a\n", "b\n"]
    with pytest.raises(DecodingError, match="e9"):
        next(one)
    with pytest.raises(DecodingError, match="ff"):
        next(other)
