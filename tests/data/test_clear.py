from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from unrolled.data import clear
from unrolled.data.cache import token_cache
from unrolled.data.tokenizer import build_tokenizer


def test_the_cache_is_removed_and_nothing_beside_it(
    list_source: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = list_source(train=[("a b", "x")])
    token_cache(source, build_tokenizer("words"), tmp_path)
    (tmp_path / "mine.txt").write_text("kept")
    monkeypatch.setattr("sys.argv", ["clear", str(tmp_path)])
    clear.main()
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    assert "MB freed" in capsys.readouterr().out
    assert clear.clear_cache(tmp_path / "nowhere") == 0
    token_cache(source, build_tokenizer("words"), tmp_path)
    assert source.reads == 2
    monkeypatch.setattr("sys.argv", ["clear"])
    monkeypatch.setenv("UNROLLED_CACHE", "~no-such-user/cache")
    with pytest.raises(SystemExit, match="UNROLLED_CACHE=~no-such-user/cache"):
        clear.main()
