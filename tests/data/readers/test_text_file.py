from __future__ import annotations

import io

import pytest

from unrolled.data.readers import text_file


def test_lines_are_those_of_the_standard_library_wherever_blocks_end(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "a\r\nb\rc\n\r\n\rdé春\r\r\n" * 3 + "end"
    for encoding in ("utf-8", "utf-16", "gb18030", "shift_jis"):
        content = text.replace("é", "" if encoding == "shift_jis" else "é").encode(encoding)
        for block in range(1, 12):
            monkeypatch.setattr(text_file, "BLOCK", block)
            found = list(text_file.decoded_lines(io.BytesIO(content), encoding))
            assert found == list(io.TextIOWrapper(io.BytesIO(content), encoding, newline=""))
