"""Every config composes and builds; every impossible one is refused by key, value and rule."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from unrolled.config import DECIDED, check_early, checked, stood_in
from unrolled.data.tokenizer import build_tokenizer
from unrolled.data.vocabulary import Vocabulary
from unrolled.errors import UserError
from unrolled.nn.encoder import Encoder
from unrolled.train.build import build, check_buildable, without

CONF = Path(__file__).parent.parent / "conf"
FILES = sorted(path.relative_to(CONF) for path in CONF.rglob("*.yaml") if path.name != "config.yaml")
REQUIRED = {  # what a choice cannot work without, because only its user knows it
    "data/csv.yaml": ["data.train=x.csv"],
    "data/jsonl.yaml": ["data.train=x.jsonl"],
    "data/parquet.yaml": ["data.train=x.parquet"],
    "data/folder.yaml": ["data.train=x"],
    "data/huggingface.yaml": ["data.path=x"],
    "recipe/none.yaml": [f"{key}={value}" for key, value in DECIDED.items()],
}


@pytest.fixture(autouse=True)
def _hydra() -> Iterator[None]:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield


def composed(*overrides: str) -> DictConfig:
    return compose("config", ["name=test", *overrides])


def choice(file: Path) -> str:
    group, name = file.parent.as_posix(), file.stem
    return f"{'+' if group == 'hydra' else ''}{group}={name}"


def test_there_are_configs_in_every_group_of_the_defaults() -> None:
    groups = {file.parent.as_posix() for file in FILES}
    assert {"data", "text", "model", "pooling", "tbptt", "optimizer", "scheduler", "trainer", "callbacks"} <= groups


@pytest.mark.parametrize("file", FILES, ids=str)
def test_each_yaml_composes_and_keeps_every_rule(file: Path) -> None:
    checked(composed(choice(file), *REQUIRED.get(str(file), [])))


@pytest.mark.parametrize("file", [f for f in FILES if f.parent.name == "model" and f.stem != "linear"], ids=str)
def test_each_model_yaml_builds_an_encoder_that_reads(file: Path) -> None:
    config = composed(choice(file), "embedding.embedding_dim=4")
    encoder = build("model", without(config.model, "wide"), input_size=4)
    assert isinstance(encoder, Encoder)
    import torch

    outputs, _ = encoder(torch.randn(3, 2, 4), encoder.initial_state(2))
    assert outputs.shape == (3, 2, encoder.output_size)


@pytest.mark.parametrize("file", [f for f in FILES if f.parent.name in ("optimizer", "scheduler")], ids=str)
def test_each_optimizer_and_scheduler_yaml_builds(file: Path) -> None:
    import torch

    config = stood_in(composed(choice(file)))
    optimizer = build("optimizer", config.optimizer)([torch.nn.Parameter(torch.ones(2))])
    scheduler = build("scheduler", config.scheduler)(optimizer, total_steps=10)
    for _ in range(10):
        optimizer.step()
        scheduler.step()
        assert 0 <= optimizer.param_groups[0]["lr"] <= config.optimizer.lr


def test_what_may_be_right_is_not_refused_before_torch_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "of_mine", ModuleType("of_mine"))
    of_mine = ["model._target_=of_mine.Encoder", "model.cell=of_mine.Cell", "model.hidden_size=[64,32]"]
    check_early(composed(*of_mine, "optimizer.lr=1e-3", "optimizer.weight_decay=1", "trainer.gradient_clip_val=null"))
    check_early(composed("optimizer.weight_decay=${seed}", "embedding.dropout=${label_smoothing}", "optimizer.lr=auto"))
    check_early(composed("callbacks=none", "trainer.max_epochs=null", "model=linear"))


def test_seed_zero_is_a_seed() -> None:
    assert checked(composed("seed=0")).seed == 0


def checked_and_built(config: DictConfig) -> None:
    checked(config)
    check_buildable(config)  # some rules are a constructor's own


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["model=lstmp", "model.proj_size=128"], ["model.proj_size=128", "hidden_size=128"]),
        (["model=lstmp", "model.proj_size=200"], ["model.proj_size=200", "smaller"]),
        (["model=gru", "model.proj_size=8"], ["model.proj_size=8", "no projection"]),
        (["model=rnn", "model.proj_size=8"], ["model.proj_size=8", "no projection"]),
        (["model.dropout=1.5"], ["model.dropout=1.5", "below 1"]),
        (["model.hidden_size=0"], ["model.hidden_size=0", "at least 1"]),
        (["model.num_layers=-1"], ["model.num_layers=-1", "at least 1"]),
        (["model.implementation=mine"], ["model.implementation=mine", "handwritten, official"]),
        (["model.implementation=official", "model.zoneout_hidden=0.1"], ["model.zoneout_hidden=0.1", "handwritten"]),
        (["model=rnn", "model.nonlinearity=sine"], ["model.nonlinearity=sine", "tanh, relu, identity"]),
        (
            ["model=rnn", "model.nonlinearity=identity", "model.implementation=official"],
            ["model.nonlinearity=identity", "handwritten"],
        ),
        (["model=memoryless", "model.num_layers=2"], ["model.num_layers=2", "leave it at 1"]),
        (["model=mgu", "model.implementation=official"], ["model.implementation=official: torch.nn has no MGU;"]),
        (["+model.foo=3"], ["model.foo: there is no such key"]),
        (
            ["+model.zoneout_hiden=0.1"],
            ["model.zoneout_hiden: there is no such key; did you mean model.zoneout_hidden?"],
        ),
        (["trainer.max_epochs=-3"], ["trainer.max_epochs=-3: must be -1 (until", "ends the run), at least 1 or null"]),
        (["model.engine=turbo"], ["model.engine=turbo", "auto, eager, fused"]),
        (["model.chrono=1"], ["model.chrono=1", "at least 2"]),
        (["model.chrono=9", "model.forget_bias=1"], ["model.forget_bias=1", "chrono=9"]),
        (["model=linear", "model.C=0"], ["model.C=0", "more than 0"]),
        (["pooling.dropout=-0.1"], ["pooling.dropout=-0.1", "below 1"]),
        (["tbptt.chunk_len=0"], ["tbptt.chunk_len=0", "null"]),
        (["tbptt.batch_size=0"], ["tbptt.batch_size=0", "at least 1"]),
        (["tbptt.schedule=rows"], ["tbptt.schedule=rows", "documents, stream"]),
        (["tbptt.loss=every"], ["tbptt.loss=every", "schedule=stream"]),
        (["tbptt.gradient=exact", "tbptt.carry=false"], ["tbptt.carry=", "truncated"]),
        (["tbptt=full", "tbptt.carry=false"], ["tbptt.carry=false", "nothing to hand on"]),
        (["tbptt=full", "tbptt.memory=recompute"], ["tbptt.memory=recompute", "one chunk"]),
        (["tbptt.memory_mib=0"], ["tbptt.memory_mib=0", "more than 0"]),
        (["tbptt.memory=retain", "tbptt.memory_mib=9"], ["tbptt.memory_mib=9", "choose tbptt.memory=auto"]),
        (["tbptt.k1=10"], ["tbptt.k1=10", "schedule=stream"]),
        (["tbptt.k2=10"], ["tbptt.k2=10", "schedule=stream"]),
        (["tbptt=stream64", "tbptt.chunk_len=null"], ["tbptt.chunk_len=null", "needs a chunk length"]),
        (["tbptt=stream64", "tbptt.gradient=exact"], ["tbptt.gradient=exact", "schedule=documents"]),
        (["tbptt=stream64", "tbptt.memory=recompute"], ["tbptt.memory=recompute", "tbptt.memory=auto"]),
        (["tbptt=stream64", "tbptt.k2=128"], ["tbptt.k2=128", "tbptt.chunk_len=128"]),
        (["tbptt=stream64", "tbptt.k1=65"], ["tbptt.k1=65", "tbptt.k2=64", "must not exceed"]),
        (["tbptt=stream64", "tbptt.k1=0"], ["tbptt.k1=0", "at least 1"]),
        (["tbptt=stream64", "tbptt.k1=16", "tbptt.carry=false"], ["tbptt.k1=16", "tbptt.carry=true"]),
        (["tbptt=stream64", "tbptt.k1=16", "model.bidirectional=true"], ["tbptt.k1=16", "model.bidirectional=true"]),
        (["embedding.dropout=1"], ["embedding.dropout=1", "below 1"]),
        (["embedding.word_dropout=-1"], ["embedding.word_dropout=-1", "below 1"]),
        (["embedding.embedding_dim=0"], ["embedding.embedding_dim=0", "at least 1"]),
        (["pooling.dropout=much"], ["pooling.dropout=much", "a number"]),
        (["threads=0"], ["threads=0", "at least 1"]),
        (["seed=-1"], ["seed=-1", "at least 0"]),
    ],
    ids=lambda value: " ".join(value) if value and "=" in value[0] else None,
)
def test_an_impossible_combination_names_key_value_and_rule(overrides: list[str], said: list[str]) -> None:
    config = composed(*overrides)
    with pytest.raises(UserError) as error:
        checked_and_built(config)
    for part in said:
        assert part in str(error.value)


def test_a_streams_windows_are_its_chunks_unless_said_otherwise() -> None:
    def windows(*overrides: str) -> tuple[int | None, int | None, int | None]:
        tbptt = checked(composed("tbptt=stream64", *overrides)).tbptt
        return tbptt.k1, tbptt.k2, tbptt.chunk_len

    assert windows() == (64, 64, 64)
    assert windows("tbptt.k1=16") == (16, 64, 64)
    assert windows("tbptt.chunk_len=null", "tbptt.k2=48") == (48, 48, 48)
    assert windows("tbptt.chunk_len=null", "tbptt.k1=16", "tbptt.k2=48") == (16, 48, 48)


@pytest.mark.parametrize("override", ["model.hiden_size=3", "tbptt.chunklen=3", "data.max_token=3", "sead=1"])
def test_a_misspelt_key_stops_when_the_config_is_composed(override: str) -> None:
    with pytest.raises(HydraException, match=override.split("=")[0].split(".")[-1]):
        composed(override)


@pytest.mark.parametrize(
    ("override", "rule"),
    [
        ("model.hidden_size=many", "must be a whole number"),
        ("model.hidden_size=1.5", "must be a whole number"),
        ("model.bidirectional=2", "must be true or false"),
        ("model.dropout=false", "must be a number"),
        ("seed=x", "must be a whole number"),
        ("seed=true", "must be a whole number"),
        ("threads=two", "must be a whole number or null"),
        ("tbptt.carry=7up", "must be true or false"),
        ("tbptt.chunk_len=[1,2]", "must be a whole number or null"),
        ("text.normalization=nfc", "must be one of NFC, NFD, NFKC, NFKD"),
        ("data.limit=all", "must be a whole number or null"),
        ("data.corpus=null", "must be text"),
        ("text.freeze_vectors=no", "must be true or false"),
        ("optimizer.lr=high", "must be a number"),
        ("scheduler.warmup=long", "must be a number"),
        ("trainer.max_epochs=three", "must be a whole number or null"),
        ("trainer.precision=32-wrong", "must be one of 64, 32, 16, transformer-engine"),
        ("callbacks.averaging.decay=x", "must be a number"),
        ("checkpoint.keep=1.5", "must be a whole number"),
    ],
)
def test_a_value_of_another_type_names_key_value_and_type(override: str, rule: str) -> None:
    with pytest.raises(UserError) as error:
        checked(composed(override))
    key, _, value = override.partition("=")
    assert str(error.value).startswith(f"{key}={value}: {rule}".replace("[1,2]", "[1, 2]"))


def test_a_whole_number_for_a_fraction_is_the_same_setting() -> None:
    """Or a sweep would do a finished run again, and compare.py would show two rows for one configuration."""
    whole, fraction = composed("model.dropout=0", "optimizer.lr=1"), composed("model.dropout=0.0", "optimizer.lr=1.0")
    checked(whole)
    checked(fraction)
    assert OmegaConf.to_yaml(whole) == OmegaConf.to_yaml(fraction)


def test_a_number_may_be_the_name_of_a_file() -> None:
    assert checked(composed("data=csv", "data.train=2024")).data.source["train"] == "2024"


@pytest.mark.parametrize(("file", "required"), [pair for pair in REQUIRED.items() if pair[0].startswith("data/")])
def test_what_only_the_user_knows_is_asked_for(file: str, required: list[str]) -> None:
    with pytest.raises(UserError, match=rf"{required[0].split('=')[0]} is not set: it names"):
        checked(composed(choice(Path(file))))


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["data=csv", "+data.val=x", "data.train=x"], "data.val: there is no such key; did you mean data.valid?"),
        (["+data.max_token=9"], "data.max_token: there is no such key; did you mean data.max_tokens?"),
        (["+trainer.max_epoch=3"], "trainer.max_epoch: there is no such key; did you mean trainer.max_epochs?"),
        (["+optimizer.learning_rate=3"], "optimizer.learning_rate: there is no such key"),
        (["+tbptt.chunklen=9"], "tbptt.chunklen: there is no such key; did you mean tbptt.chunk_len?"),
        (["+lr=9"], "lr: there is no such key"),
        (["+trainer.logger=false"], "trainer.logger: the program gives this argument itself"),
        (["callbacks.examples=true"], "callbacks.examples=true: must be null, or keys of a callback"),
        (["+callbacks.mine=true"], "callbacks.mine=true: must be null, or keys of a callback"),
        (["+callbacks.mine.patience=3"], "callbacks.mine._target_ is missing"),
        (["+callbacks.mine._target_=no.such.Thing"], "callbacks.mine._target_=no.such.Thing cannot be imported"),
        (["data._target_=pathlib.Nowhere"], "data._target_=pathlib.Nowhere cannot be imported"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_key_that_nothing_reads_is_refused(overrides: list[str], said: str) -> None:
    with pytest.raises(UserError) as error:
        checked(composed(*overrides))
    assert str(error.value).startswith(said)


def test_an_argument_that_a_library_has_can_be_added() -> None:
    config = composed("+optimizer.amsgrad=true", "+callbacks.swa._target_=pytorch_lightning.callbacks.Timer")
    assert checked(config).optimizer.amsgrad is True


def test_a_wrong_argument_of_another_library_names_the_key() -> None:
    config = composed("+optimizer.speed=3")
    with pytest.raises(UserError, match=r"optimizer.*speed"):
        build("optimizer", config.optimizer)([])


TRAINED = ("auto", "bpe", "unigram", "torchtext")  # chosen or made from the training documents, or by another library


@pytest.mark.parametrize("file", [f for f in FILES if f.parent.name == "text" and f.stem not in TRAINED], ids=str)
def test_each_text_yaml_names_a_tokenizer(file: Path) -> None:
    text = checked(composed(choice(file))).text
    tokenizer = build_tokenizer(text.kind, text.normalization)
    tokens = tokenizer("Naïve cats, 2 dogs")
    assert len(tokens) >= 4
    assert Vocabulary(["<pad>", "<unk>"]).lookup(tokens) == [1] * len(tokens)
