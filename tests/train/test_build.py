"""From a config and data to a model: what only both together decide."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from torch.nn import functional as F

from unrolled.config import checked, stood_in
from unrolled.data.prepare import PreparedData, prepare
from unrolled.errors import UserError
from unrolled.tbptt.datamodule import DocumentsDataModule
from unrolled.train.build import build, build_classifier
from unrolled.train.classifier import Classifier

CONF = Path(__file__).parents[2] / "conf"
COUNTS = {"cats": 30, "dogs": 12, "fish": 6}


@pytest.fixture
def table(tmp_path: Path) -> Path:
    rows = [f"{label},{label} number {i % 5} sleeps" for label, count in COUNTS.items() for i in range(count)]
    (tmp_path / "pets.csv").write_text("label,text\n" + "\n".join(rows) + "\n")
    return tmp_path


@pytest.fixture(autouse=True)
def _hydra() -> Iterator[None]:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield


def built(table: Path, *overrides: str) -> tuple[Classifier, PreparedData]:
    files = [f"data.train={table / 'pets.csv'}", f"data.cache_dir={table / 'cache'}"]
    small = ["embedding.embedding_dim=3", "model.hidden_size=80", "model.wide=false"]
    config = compose("config", ["name=test", "data=csv", *files, *small, *overrides])
    valid = checked(stood_in(config))
    prepared = prepare(valid.data, valid.text, valid.seed)
    return build_classifier(valid, prepared), prepared


def test_balanced_weights_give_every_class_the_same_part_of_the_loss(table: Path) -> None:
    model, prepared = built(table, "class_weights=balanced")
    assert model.class_weights is not None
    parts = prepared.class_counts * model.class_weights.numpy()
    np.testing.assert_allclose(parts, np.full(3, prepared.class_counts.sum() / 3), rtol=1e-6)


def test_the_training_loss_is_torchs_with_weights_and_smoothing(table: Path) -> None:
    model, prepared = built(table, "class_weights=balanced", "label_smoothing=0.2")
    logits, labels = torch.randn(4, 3), torch.tensor([0, 1, 2, 1])
    weights = torch.from_numpy(prepared.class_counts.sum() / (3 * prepared.class_counts)).float()
    expected = F.cross_entropy(logits, labels, weights, label_smoothing=0.2, reduction="none")
    torch.testing.assert_close(model._each_loss(logits, labels), expected)


def test_pretrained_vectors_are_where_the_file_has_them_and_nowhere_else(table: Path) -> None:
    (table / "vectors.txt").write_text("cats 1 2 3\nsleeps -1 0.5 4\nabsent 9 9 9\n")
    torch.manual_seed(0)
    plain, _ = built(table)
    torch.manual_seed(0)
    model, prepared = built(table, f"text.vectors={table / 'vectors.txt'}")
    cats, sleeps, dogs = prepared.vocabulary.lookup(["cats", "sleeps", "dogs"])
    assert model.network.embedding.weight[cats].tolist() == [1, 2, 3]
    assert model.network.embedding.weight[sleeps].tolist() == [-1, 0.5, 4]
    assert torch.equal(model.network.embedding.weight[dogs], plain.network.embedding.weight[dogs])
    assert model.network.embedding.weight.requires_grad


def test_frozen_vectors_get_no_gradient(table: Path) -> None:
    (table / "vectors.txt").write_text("cats 1 2 3\n")
    model, _ = built(table, f"text.vectors={table / 'vectors.txt'}", "text.freeze_vectors=true")
    assert not model.network.embedding.weight.requires_grad


def test_vectors_of_another_size_are_refused_with_the_size_to_set(table: Path) -> None:
    (table / "vectors.txt").write_text("cats 1 2\n")
    with pytest.raises(UserError, match=r"embedding_dim=3.*embedding_dim=2"):
        built(table, f"text.vectors={table / 'vectors.txt'}")


def test_the_datamodule_reads_what_the_config_says(table: Path) -> None:
    files = [f"data.train={table / 'pets.csv'}", f"data.cache_dir={table / 'cache'}"]
    stream = ["tbptt=stream64", "tbptt.batch_size=2", "tbptt.chunk_len=2"]
    valid = checked(compose("config", ["name=test", "data=csv", *files, *stream]))
    data = DocumentsDataModule(prepare(valid.data, valid.text, valid.seed), valid.tbptt, valid.seed)
    step = next(iter(data.train_dataloader()))
    assert [tuple(block.tokens.shape) for block in step.blocks] == [(2, 2)]


def given(value: object, more: object = None) -> tuple[object, object]:
    """What a target gets."""
    return value, more


def test_a_list_in_a_config_is_a_list_for_its_target() -> None:
    """Or a checkpoint could hold a class of OmegaConf, which it cannot be loaded with."""
    inside = object()
    config = OmegaConf.create({"_target_": f"{__name__}.given", "value": [0.8, {"a": 1}]})
    value, more = build("given", config, more=inside)
    assert (type(value), value) == (list, [0.8, {"a": 1}])
    assert more is inside
