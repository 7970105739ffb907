"""Every published row is one `experiment=` away: conf/experiment says what the studies run."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import yaml
from omegaconf import DictConfig, OmegaConf
from tests.conftest import ROOT
from tests.experiments.script import STUDIES, load

from unrolled.studies.trainings import Training
from unrolled.train.recipe import Statistics, decide

Compose = Callable[..., DictConfig]

chunk_length, schedules = load("chunk_length"), load("schedules")
memory_probe, truncation_bias = load("memory_probe"), load("truncation_bias")
RECIPE = next(each for each in Training("", ()).settings if each.startswith("recipe="))  # of these studies
WAYS = {  # what a column of the memory probe adds to a row
    "truncated": (),
    "exact": ("tbptt=exact100", "tbptt.memory=retain"),
    "stream, loss every": ("tbptt=stream64", "tbptt.loss=every"),
    "carry off": ("tbptt.carry=false",),
}
FIXED = [f.stem for f in (ROOT / "conf" / "experiment").glob("*.yaml") if not f.stem.endswith("_best")]
ROWS = {  # models of the memory probe whose files are not called like them
    "lstm, first weights as torch's": "memory_probe",
}


def settings(config: DictConfig) -> Any:
    return OmegaConf.to_container(config, resolve=True)


def as_trained(config: DictConfig) -> Any:
    """With the values of its recipe, which must be the same for a small and a large corpus."""
    small, large = config.copy(), config.copy()
    decide(small, Statistics(10, 10**4, 20))
    decide(large, Statistics(10**6, 10**8, 10**6))
    assert settings(small) == settings(large)
    return settings(small)


def agree(compose: Compose, experiment: tuple[str, ...], study: tuple[str, ...]) -> None:
    ours, theirs = compose("name=x", *experiment), compose("name=x", RECIPE, *study)
    assert settings(ours) == settings(theirs)


def published(data: str, way: str) -> float:
    """The learning rate of a row of the published table."""
    rows = json.loads((STUDIES / "schedules" / "results.json").read_text())["rows"]
    (found,) = {row["lr"] for row in rows if row["chosen"] and (row["data"], row["way"]) == (data, way)}
    return float(found)


@pytest.mark.parametrize("corpus", chunk_length.Sizes().corpora, ids=lambda corpus: "_".join(map(str, corpus[:2])))
@pytest.mark.parametrize("chunk_len", chunk_length.Sizes().chunk_lens)
def test_chunk_length(corpus: tuple[str, str, int], chunk_len: int | None, compose_config: Compose) -> None:
    data, pooling, epochs = corpus
    study = chunk_length.training(data, pooling, epochs, chunk_len, 2, chunk_length.Sizes()).overrides
    length = "null" if chunk_len is None else chunk_len
    experiment = (f"experiment=chunk_length_{data}_{pooling}", f"tbptt.chunk_len={length}", "seed=2")
    agree(compose_config, experiment, study)


@pytest.mark.parametrize(
    ("corpus", "way"),
    [(corpus, way) for corpus in schedules.Sizes().corpora for way in corpus.ways],
    ids=lambda each: each if isinstance(each, str) else each.data,
)
def test_schedules(corpus: Any, way: str, compose_config: Compose) -> None:
    study = schedules.training(corpus, way, published(corpus.data, way), 1, schedules.Sizes()).overrides
    name = way.removeprefix("documents, ").replace("stream, loss ", "stream_")
    agree(compose_config, (f"experiment=schedules_{corpus.data}_{name}", "seed=1"), study)


@pytest.mark.parametrize("model", memory_probe.MODELS)
@pytest.mark.parametrize("way", memory_probe.WAYS)
def test_memory_probe(model: str, way: str, compose_config: Compose) -> None:
    study = memory_probe.training(model, way, 200, 1, memory_probe.Sizes()).overrides
    experiment = f"experiment={ROWS.get(model, f'memory_probe_{model}')}"
    agree(compose_config, (experiment, *WAYS[way], "data.length=200", "seed=1"), study)


def test_truncation_bias(compose_config: Compose) -> None:
    sizes = truncation_bias.Sizes()
    config = settings(compose_config("name=x", "experiment=truncation_bias"))
    assert config["data"]["max_tokens"] == sizes.max_tokens
    assert config["model"]["hidden_size"] == config["embedding"]["embedding_dim"] == sizes.hidden_size
    assert config["tbptt"]["batch_size"] == sizes.batch_size
    assert config["tbptt"]["gradient"] == "exact"
    assert config["trainer"]["max_steps"] == sizes.steps
    assert "GradientBias" in config["callbacks"]["gradient_bias"]["_target_"]


@pytest.mark.parametrize("run", [0, 1, 2])
@pytest.mark.parametrize(
    ("experiment", "file", "first_seed"),
    [
        ("newsgroups", "newsgroups/fixed_seed{}", 0),
        ("newsgroups_best", "newsgroups/best_seed{}", 1),
        ("newsgroups_best", "newsgroups/best_seed{}", 4),
        ("r8_best", "reuters/r8_best_seed{}", 1),
        ("r8_best", "reuters/r8_best_seed{}", 4),
        ("r52_best", "reuters/r52_best_seed{}", 1),
        ("r52_best", "reuters/r52_best_seed{}", 4),
    ],
)
def test_the_best_is_what_its_study_reports(
    experiment: str, file: str, first_seed: int, run: int, compose_config: Compose
) -> None:
    """Every setting of the published run that still has its name has its value."""
    seed = first_seed + run
    recorded = json.loads((STUDIES / f"{file.format(seed)}.json").read_text())["config"]
    ours = as_trained(compose_config("name=x", f"experiment={experiment}", f"seed={seed}"))
    same = 0
    for group in ("data", "text", "embedding", "model", "tbptt", "optimizer", "scheduler", "trainer", "checkpoint"):
        assert isinstance(recorded[group], Mapping)
        for key, value in recorded[group].items():
            if key in ours[group] and key != "_target_":
                assert ours[group][key] == value, f"{group}.{key}"
                same += 1
    assert same > 50
    assert (ours["seed"], ours["label_smoothing"]) == (recorded["seed"], recorded["label_smoothing"])


@pytest.mark.parametrize("experiment", FIXED)
def test_what_no_published_row_changes_is_what_it_was_when_it_was_trained(
    experiment: str, compose_config: Compose
) -> None:
    """The defaults of that time, before there were recipes, wherever neither the row nor a choice it makes differs."""
    config = as_trained(compose_config("name=x", f"experiment={experiment}"))
    text = (ROOT / "conf" / "experiment" / f"{experiment}.yaml").read_text()
    if experiment.startswith("memory_probe_"):
        text = (ROOT / "conf" / "experiment" / "memory_probe.yaml").read_text()
    own = yaml.safe_load(text)
    for group, section, key, value in (
        ("tbptt", (), "batch_size", 64),
        ("trainer", (), "max_epochs", 5),
        ("optimizer", (), "lr", 0.005),
        ("embedding", (), "dropout", 0.3),
        ("embedding", (), "word_dropout", 0.3),
        ("pooling", (), "dropout", 0.5),
        ("callbacks", ("early_stopping",), "patience", None),
        ("callbacks", ("averaging",), "decay", 0.98),
    ):
        given, found = own.get(group) or {}, config[group]
        for name in section:
            given, found = given.get(name, {}), found[name]
        if given is None:  # a callback that the row leaves out
            assert found is None
        else:
            assert found[key] == given.get(key, value), (group, *section, key)


def test_every_experiment_is_tested_here() -> None:
    tested = {f"chunk_length_{data}_{pooling}" for data, pooling, _ in chunk_length.Sizes().corpora}
    for corpus in schedules.Sizes().corpora:
        names = (way.removeprefix("documents, ").replace("stream, loss ", "stream_") for way in corpus.ways)
        tested |= {f"schedules_{corpus.data}_{name}" for name in names}
    tested |= {ROWS.get(model, f"memory_probe_{model}") for model in memory_probe.MODELS}
    tested |= {"truncation_bias", "newsgroups"}
    files = {file.stem for file in (ROOT / "conf" / "experiment").glob("*.yaml")}
    plain = {"reuters_r8", "reuters_r52"}  # the defaults on another data set
    best = files - set(FIXED)  # not of a study
    assert files == tested | plain | best
