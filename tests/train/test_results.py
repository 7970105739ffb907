import json
from pathlib import Path

import pytest

from unrolled.errors import UserError
from unrolled.train import results
from unrolled.train.results import config_hash, find_runs, load_result, resolve_run

CONFIG = {"seed": 3, "name": "a", "model": {"hidden_size": 5, "layers": [1, 2]}, "tbptt": {"chunk_len": None}}


def run_in(tmp_path: Path, name: str = "lstm", time: str = "1") -> Path:
    return tmp_path / "runs" / name / time


def test_the_hash_depends_on_what_matters_and_on_nothing_else() -> None:
    base = config_hash(CONFIG)
    assert config_hash(dict(reversed(CONFIG.items()))) == base
    assert config_hash(CONFIG | {"name": "b", "output_dir": "elsewhere"}) == base
    data = {"data": {"cache_dir": "there", "limit": 5}}
    assert config_hash(CONFIG | data) == config_hash(CONFIG | {"data": {"limit": 5}}) != base
    assert config_hash(CONFIG | {"seed": 4}) != base
    assert config_hash(CONFIG | {"model": {"hidden_size": 6, "layers": [1, 2]}}) != base
    assert config_hash(CONFIG | {"tbptt": {"chunk_len": 0}}) != base


def test_a_run_is_found_from_any_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "PROJECT", tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (elsewhere := tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(elsewhere)
    (run := run_in(tmp_path)).mkdir(parents=True)
    (run / "results.json").touch()
    (tmp_path / "runs" / "latest").write_text("lstm/1\n")
    names = ("latest", "runs/latest", "runs/lstm/1", "runs/lstm/1/results.json", "~/runs/lstm/1", "../runs/lstm/1")
    assert {resolve_run(name).resolve() for name in names} == {run}
    (elsewhere / "latest").write_text("own\n")
    assert resolve_run("latest") == Path("own"), "what lies here goes first"


def test_what_is_no_run_says_so(tmp_path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        load_result("~nobody-of-this-name/run")
    with pytest.raises(UserError, match="is not a run"):
        load_result(tmp_path)
    with pytest.raises(UserError, match="no run found under"):
        find_runs([tmp_path])
    with pytest.raises(UserError, match="is not a directory"):
        find_runs([tmp_path / "nowhere"])
    (tmp_path / "results.json").write_text("{")
    with pytest.raises(UserError, match="cannot be read"):
        load_result(tmp_path)
    (tmp_path / "results.json").write_text(json.dumps({"format": 99}))
    with pytest.raises(UserError, match="has format 99, this version reads format 1"):
        load_result(tmp_path)
