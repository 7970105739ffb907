"""Sources from plain mappings; and one that a user has written, trained and evaluated by the programs themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.train.fresh_process import forked

from unrolled.data.sources.build import build_source
from unrolled.data.sources.generated import Recall
from unrolled.errors import UserError
from unrolled.train.predictions import load_predictions
from unrolled.train.results import load_result

SOURCES = "unrolled.data.sources"
CSV, RECALL = f"{SOURCES}.files.CsvFiles", f"{SOURCES}.generated.Recall"


def test_keys_are_the_arguments_of_the_constructor() -> None:
    source = build_source({"_target_": RECALL, "length": 7, "noise": "other"})
    assert isinstance(source, Recall)
    assert (source.length, source.noise, source.classes) == (7, "other", 10)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"_target_": "no.such.module"}, r"data\._target_=no\.such\.module cannot be imported"),
        ({"_target_": "pathlib.Path"}, r"data\._target_=pathlib\.Path must name a subclass"),
        ({}, r"data\._target_ is missing"),
        ({"_target_": CSV, "val": "a.csv"}, r"data\.val: there is no such key; did you mean data\.valid\?"),
        ({"_target_": CSV, "fodl": 1}, r"data\.fodl: there is no such key; did you mean data\.fold\?"),
        ({"_target_": RECALL, "zzz": 1}, r"data\.zzz: there is no such key"),
        ({"_target_": f"{SOURCES}.orange.OrangeTables"}, r"OrangeTables needs more keys \(.*'corpus'"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_key(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build_source(keys)


@pytest.mark.parametrize("module", ["files.CsvFiles", "files.JsonlFiles", "files.ParquetFiles", "folder.Folder"])
def test_what_only_the_user_knows_is_asked_for(module: str) -> None:
    with pytest.raises(UserError, match=r"needs more keys \(.*'train'\)"):
        build_source({"_target_": f"{SOURCES}.{module}"})
    with pytest.raises(UserError, match=r"needs more keys \(.*'path'\)"):
        build_source({"_target_": f"{SOURCES}.huggingface.HuggingFace"})


SOURCE = '''
from unrolled.data.sources.source import Document, Source


class Weather(Source):
    """Half of the days are bad."""

    name = "weather"

    def __init__(self, days: int = 60, storm: str = "storm") -> None:
        self.days, self.storm = days, storm

    def splits(self):
        return ("train",)

    def fingerprint(self):
        return {"days": self.days, "storm": self.storm}

    def documents(self, split, notes):
        for day in range(self.days):
            yield Document(f"a {self.storm} comes", "bad") if day % 2 else Document("the sun shines", "good")
'''


@pytest.fixture
def weather(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """A class and a yaml outside the package, and the arguments that choose them."""
    (tmp_path / "conf" / "data").mkdir(parents=True)
    (tmp_path / "conf" / "data" / "weather.yaml").write_text("_target_: my_weather.Weather\ndays: 80\nstorm: gale\n")
    (tmp_path / "my_weather.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    quick = ("model=gru", "model.hidden_size=8", "threads=1", "callbacks.progress_bar=null")
    return ("--config-dir", str(tmp_path / "conf"), "data=weather", *quick, f"output_dir={tmp_path / 'runs'}")


def test_a_source_of_ones_own_is_one_class_and_one_yaml(weather: tuple[str, ...], tmp_path: Path) -> None:
    done = forked("train.py", *weather, "data.storm=hail", "data.test_share=0.25", "optimizer.lr=0.05")
    assert done.returncode == 0, done.stderr
    run = tmp_path / "runs" / "latest"
    result = load_result(run)
    assert result.metrics["test/accuracy"] == 1.0, "two words tell the classes apart"
    words = {
        line for line in (result.directory / "vocabulary.txt").read_text().splitlines() if not line.startswith("<")
    }
    assert words == {"a", "hail", "comes", "the", "sun", "shines"}
    predictions = load_predictions(result)
    assert predictions is not None
    assert len(predictions["ids"]) == 20
    assert [day % 2 == 1 for day in predictions["ids"]] == [label == "good" for label in predictions["labels"]]
    done = forked("evaluate.py", f"run={run}")
    assert done.returncode == 0, done.stderr
    assert "20 documents\naccuracy 100.00 %" in done.stdout


@pytest.mark.parametrize(
    ("override", "said"),
    [("data.dayz=3", "data.days"), ("data.days=many", "data.days=many: must be a whole number")],
)
def test_its_keys_are_checked_against_its_constructor(weather: tuple[str, ...], override: str, said: str) -> None:
    done = forked("train.py", *weather, f"+{override}" if "dayz" in override else override)
    assert done.returncode != 0
    assert said in done.stderr
    assert "Traceback" not in done.stderr
