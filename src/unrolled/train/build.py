"""Builds the objects of a run from its checked config."""

import re
from typing import TYPE_CHECKING, Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from unrolled.arguments import unknown_key
from unrolled.config import Config, stood_in
from unrolled.data.prepare import PreparedData
from unrolled.data.vectors import Vectors
from unrolled.errors import UserError
from unrolled.nn.embedding import Embedding
from unrolled.nn.encoder import Encoder
from unrolled.nn.network import Network
from unrolled.nn.pooling import Pooling

if TYPE_CHECKING:  # using a trained network needs no Lightning, whose import takes seconds
    from unrolled.train.classifier import Classifier


def plain(config: DictConfig) -> dict[str, Any]:
    """The resolved config as plain containers: what may stand in a checkpoint or a JSON file."""
    container = OmegaConf.to_container(config, resolve=True)
    assert isinstance(container, dict)
    return {str(key): value for key, value in container.items() if key != "hydra"}


def is_linear(config: Config | DictConfig) -> bool:
    """Whether the run's model is the linear one alone, without a network."""
    return bool(config.model.get("_target_") == "unrolled.linear.LinearOptions")


def check_buildable(config: DictConfig) -> None:
    """Build what needs no data, to no purpose but to find a value that its library refuses before data are loaded.

    Raises UserError with what the library says.
    """
    config = stood_in(config)
    if is_linear(config):
        build("model", config.model)
        return
    with torch.device("meta"):
        _parts(config, vocabulary_size=3)
    optimizer = build("optimizer", config.optimizer)([torch.nn.Parameter(torch.zeros(1))])
    if config.scheduler is not None:
        build("scheduler", config.scheduler)(optimizer, total_steps=10)
    build("trainer", config.trainer, logger=False, enable_checkpointing=False)
    build("recipe", config.get("recipe"))


def build_network(config: Config | DictConfig, vocabulary_size: int, classes: int) -> Network:
    """The network that ``config`` describes, with freshly drawn weights."""
    embedding, encoder, pooling = _parts(config, vocabulary_size)
    dropout, wide = config.pooling.get("dropout", 0.0), config.model.get("wide", False)
    return Network(embedding, encoder, pooling, classes, dropout, wide)


def _parts(config: Config | DictConfig, vocabulary_size: int) -> tuple[Embedding, Encoder, Pooling]:
    embedding = build("embedding", config.embedding, num_embeddings=vocabulary_size)
    encoder = build("model", without(config.model, "wide"), input_size=embedding.embedding_dim)
    pooling = build("pooling", without(config.pooling, "dropout"), width=encoder.layers[-1].direction_size)
    return embedding, encoder, pooling


def build_classifier(config: Config, prepared: PreparedData) -> "Classifier":
    """The network and its training that ``config`` describes."""
    from unrolled.train.classifier import Classifier

    network = build_network(config, len(prepared.vocabulary), len(prepared.labels))
    if prepared.vectors is not None:
        _pretrain(network.embedding, prepared.vectors, config.text.freeze_vectors)
    return Classifier(
        network=network,
        class_names=prepared.labels,
        tbptt=config.tbptt,
        class_weights=_balanced(prepared) if config.class_weights == "balanced" else None,
        label_smoothing=config.label_smoothing,
        optimizer=build("optimizer", config.optimizer),
        scheduler=build("scheduler", config.scheduler),
        config=plain(config.composed),
    )


def without(config: DictConfig, *keys: str) -> DictConfig:
    return OmegaConf.create({key: value for key, value in config.items() if key not in keys})


def _pretrain(embedding: Embedding, vectors: Vectors, freeze: bool) -> None:
    """Put pretrained vectors where the file has them; the other words keep their random ones."""
    if vectors.dimension != embedding.embedding_dim:
        raise UserError(
            f"embedding.embedding_dim={embedding.embedding_dim}: the vectors of text.vectors have {vectors.dimension} "
            f"features; set embedding.embedding_dim={vectors.dimension}"
        )
    with torch.no_grad():
        embedding.weight[torch.from_numpy(vectors.found)] = torch.from_numpy(vectors.matrix[vectors.found])
    embedding.weight.requires_grad_(not freeze)


def _balanced(prepared: PreparedData) -> Tensor:
    """(C,) weights with which every class has the same part in the loss, one on average over the training documents."""
    counts = torch.from_numpy(prepared.class_counts)
    return counts.sum() / (len(counts) * counts.float())


def build(key: str, config: DictConfig | None, **known: Any) -> Any:
    """Call ``config``'s ``_target_`` with its other keys and ``known``; None stays None.

    An argument that the target refuses, now or, with ``_partial_``, later, is the user's: a UserError says what the
    target said, where Hydra would hide it.
    """
    if config is None:
        return None

    def refused(error: Exception) -> UserError:
        said = " ".join(str(error.__cause__ or error).split())
        unexpected = re.search(r"got an unexpected keyword argument '(\w+)'", said)
        if unexpected and (name := unexpected[1]) in config:
            return unknown_key(f"{key}.{name}", [f"{key}.{each}" for each in map(str, config) if each != name])
        if key == "trainer" and "gpu backend" in said:
            said = f"accelerator={config.get('accelerator')}: there is no GPU here, or torch cannot use it"
        if key == "trainer" and re.search("accelerator|device|cuda|gpu", said, re.IGNORECASE):
            said = f"{said}; trainer=auto takes the device that there is"
        if said.startswith(f"{key}."):
            return UserError(said)
        return UserError(f"{key}.{said}" if re.match(r"\w+=", said) else f"{key} ({config.get('_target_')}): {said}")

    try:
        made = instantiate(config, _convert_="all", **known)
    except Exception as error:
        raise refused(error) from error
    if not config.get("_partial_", False):
        return made

    def later(*args: Any, **more: Any) -> Any:
        try:
            return made(*args, **more)
        except (TypeError, ValueError) as error:
            raise refused(error) from error

    return later
