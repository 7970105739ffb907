"""A recipe's values keep its limits on any corpus, give way to what is typed, and are plain values afterwards."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from unrolled.config import AUTO, DECIDED, checked, undecided
from unrolled.data.prepare import prepare
from unrolled.errors import UserError
from unrolled.train.build import build, check_buildable
from unrolled.train.recipe import Recipe, Statistics, decide, described

Compose = Callable[..., DictConfig]
SIZES = sorted({max(1, round(10 ** (tenth / 10))) for tenth in range(71)})  # 1 to 10 million documents
LARGE = Statistics(10_000, 3_000_000, 40_000)
TYPED = {key: value if isinstance(value, int) else 0.123 for key, value in DECIDED.items()}


def recipe(compose_config: Compose, name: str) -> Recipe:
    made = build("recipe", compose_config("name=x", f"recipe={name}").recipe)
    assert isinstance(made, Recipe)
    return made


@pytest.mark.parametrize("name", ["auto", "fast", "strong", "fixed"])
@pytest.mark.parametrize("length", [1, 20, 300, 20_000])
def test_the_rule_is_monotone_and_within_its_limits(name: str, length: int, compose_config: Compose) -> None:
    """More documents: no smaller batches, no more epochs, no more patience, no lower learning rate."""
    rule = recipe(compose_config, name)
    corpora = [Statistics(size, size * length, 5000) for size in SIZES]
    chosen = [rule.choose(corpus) for corpus in corpora]
    for corpus, values in zip(corpora, chosen, strict=True):
        batch_size, epochs = values["tbptt.batch_size"], values["trainer.max_epochs"]
        assert rule.smallest_batch <= batch_size <= rule.largest_batch
        assert epochs <= rule.most_epochs
        if rule.tokens is not None:
            assert epochs * corpus.tokens <= rule.tokens or epochs <= rule.passes
        assert epochs >= min(rule.passes, rule.fewest_epochs)
        assert rule.smallest_lr <= values["optimizer.lr"] <= rule.lr
        assert values.keys() == DECIDED.keys()
        assert all(type(values[key]) is type(DECIDED[key]) or values[key] is None for key in values)
    for key, sign in (
        ("tbptt.batch_size", 1),
        ("trainer.max_epochs", -1),
        ("callbacks.early_stopping.patience", -1),
        ("optimizer.lr", 1),
    ):
        if rule.patience is None and key.endswith("patience"):
            assert all(values[key] is None for values in chosen)
        else:
            assert all(sign * a[key] <= sign * b[key] for a, b in pairwise(chosen)), key


def test_an_epoch_has_enough_batches_and_small_corpora_are_read_more_often(compose_config: Compose) -> None:
    rule = recipe(compose_config, "auto")
    for documents in range(rule.batches * rule.smallest_batch, 4 * rule.batches * rule.largest_batch, 97):
        batch_size = rule.choose(replace(LARGE, documents=documents))["tbptt.batch_size"]
        if batch_size < rule.largest_batch:
            assert rule.batches / 1.5 < documents / batch_size < rule.batches * 1.5
    few, many = (rule.choose(replace(LARGE, documents=n, tokens=200 * n)) for n in (100, 10_000))
    assert few["trainer.max_epochs"] > many["trainer.max_epochs"]


def test_no_words_are_dropped_where_there_are_few_types(compose_config: Compose) -> None:
    rule = recipe(compose_config, "auto")
    assert rule.choose(replace(LARGE, types=30))["embedding.word_dropout"] == 0.0
    assert rule.choose(LARGE)["embedding.word_dropout"] == rule.word_dropout > 0


@pytest.mark.parametrize("key", DECIDED)
def test_what_is_typed_wins_and_the_rest_is_decided(key: str, compose_config: Compose) -> None:
    config = compose_config("name=x", f"{key}={TYPED[key]}")
    expected = recipe(compose_config, "auto").choose(LARGE) | {key: TYPED[key]}
    checked(config)
    assert undecided(config) == [each for each in DECIDED if each != key], "checking leaves it to the recipe"
    decided = decide(config, LARGE)
    assert key not in decided
    assert {each: OmegaConf.select(config, each) for each in DECIDED} == expected
    assert config.recipe is None
    assert checked(config).tbptt.batch_size == expected["tbptt.batch_size"]


@pytest.mark.parametrize(
    "overrides", [["optimizer=sgd"], ["callbacks=none"], ["callbacks.averaging=null"], ["tbptt=stream64"]]
)
def test_what_a_choice_does_not_have_or_sets_itself_is_left_alone(
    overrides: list[str], compose_config: Compose
) -> None:
    config = compose_config("name=x", *overrides)
    before = OmegaConf.to_container(config)
    decide(config, LARGE)
    check_buildable(config)

    def differing(old: Any, new: Any, prefix: str = "") -> set[str]:
        if isinstance(old, dict) and isinstance(new, dict):
            assert old.keys() == new.keys()
            return set().union(*(differing(old[key], new[key], f"{prefix}.{key}".strip(".")) for key in old))
        return set() if old == new else {prefix}

    changed = differing(before, OmegaConf.to_container(config)) - {"recipe"}
    assert changed
    assert all(OmegaConf.select(OmegaConf.create(before), key) == AUTO for key in changed)


def test_without_a_recipe_every_key_needs_a_value(compose_config: Compose) -> None:
    some = [f"{key}={value}" for key, value in TYPED.items()]
    checked(compose_config("name=x", "recipe=none", *some))
    with pytest.raises(UserError, match=r"^trainer.max_epochs=auto: recipe=none decides nothing; give a value, or"):
        checked(compose_config("name=x", "recipe=none", *(each for each in some if "max_epochs" not in each)))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["recipe.smallest_batch=99"], "recipe.smallest_batch=99: more than 0 and at most largest_batch, which is 64"),
        (["recipe.documents=0"], "recipe.documents=0: must be at least 1"),
        (["recipe.lr=high"], "recipe.lr=high: must be a number"),
        (["optimizer.lr=-1"], "optimizer.lr=-1"),
        (["pooling.dropout=automatic"], "pooling.dropout=automatic: must be a number"),
        (["trainer.min_epochs=auto"], "trainer.min_epochs=auto: must be a whole number"),
    ],
)
def test_a_wrong_value_is_found_before_data_are_read(
    overrides: list[str], message: str, compose_config: Compose
) -> None:
    config = compose_config("name=x", *overrides)

    def before_data_are_read() -> None:
        checked(config)
        check_buildable(config)

    with pytest.raises(UserError, match=message):
        before_data_are_read()


def test_the_seed_does_not_change_what_is_known_of_a_corpus(tmp_path: Path, compose_config: Compose) -> None:
    rows = [f"{'xyz'[i % 3]},{'word ' * (1 + i % 40)}" for i in range(1000)]
    (tmp_path / "table.csv").write_text("label,text\n" + "\n".join(rows) + "\n")
    files = (f"data.train={tmp_path / 'table.csv'}", f"data.cache_dir={tmp_path / 'cache'}")
    found = set()
    for seed in range(3):
        valid = checked(compose_config("name=x", "data=csv", *files, f"seed={seed}"))
        found.add(Statistics.of(prepare(valid.data, valid.text, valid.seed)))
    (only,) = found
    assert only.documents == 720
    assert only.tokens == pytest.approx(720 * 20.5, rel=0.05)


def test_what_was_decided_is_said_with_its_keys_in_narrow_lines() -> None:
    said = described("auto", TYPED | {"tbptt.batch_size": 16})
    assert "batches of 16 documents (tbptt.batch_size)" in said
    assert all(key in said.replace("\n  ", " ") for key in DECIDED)
    assert max(map(len, said.splitlines())) <= 80
    assert "no early stopping" in described("fixed", {"callbacks.early_stopping.patience": None})
