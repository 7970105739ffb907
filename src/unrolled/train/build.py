"""From a checked config to the objects of a run."""

from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from unrolled.config import Config
from unrolled.data.prepare import PreparedData
from unrolled.data.vectors import Vectors
from unrolled.errors import UserError
from unrolled.nn.embedding import Embedding
from unrolled.nn.pooling import make_pooling
from unrolled.tbptt.datamodule import DocumentsDataModule
from unrolled.tbptt.reading import Reading
from unrolled.train.classifier import Classifier


def plain(config: DictConfig) -> dict[str, Any]:
    """The resolved config as plain containers: what may stand in a checkpoint or a JSON file."""
    container = OmegaConf.to_container(config, resolve=True)
    assert isinstance(container, dict)
    return {str(key): value for key, value in container.items() if key != "hydra"}


def check_buildable(config: DictConfig) -> None:
    """Build what needs no data, to no purpose but to find a value that its library refuses before data are loaded.

    Raises UserError with what the library says.
    """
    optimizer = build("optimizer", config.optimizer)([torch.nn.Parameter(torch.zeros(1))])
    if config.scheduler is not None:
        build("scheduler", config.scheduler)(optimizer, total_steps=10)
    build("trainer", config.trainer, logger=False, enable_checkpointing=False)


def build_classifier(config: DictConfig, checked: Config, prepared: PreparedData) -> Classifier:
    """The model that ``config`` describes, with freshly drawn weights."""
    embedding = build("embedding", config.embedding, num_embeddings=len(prepared.vocabulary))
    if prepared.vectors is not None:
        _pretrain(embedding, prepared.vectors, checked.text.freeze_vectors)
    encoder = build("model", config.model, input_size=checked.embedding.embedding_dim)
    tbptt = checked.tbptt
    return Classifier(
        embedding=embedding,
        encoder=encoder,
        pooling=make_pooling(checked.pooling.name, encoder.output_size // len(encoder.sweeps[-1])),
        class_names=prepared.labels,
        reading=Reading(tbptt.gradient == "exact", tbptt.memory == "recompute", tbptt.carry),
        schedule=tbptt.schedule,
        loss=tbptt.loss,
        dropout=checked.pooling.dropout,
        class_weights=_balanced(prepared) if checked.class_weights == "balanced" else None,
        label_smoothing=checked.label_smoothing,
        optimizer=build("optimizer", config.optimizer),
        scheduler=build("scheduler", config.scheduler),
        config=plain(config),
    )


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


def build_datamodule(prepared: PreparedData, checked: Config) -> DocumentsDataModule:
    """The steps that ``checked`` describes."""
    tbptt = checked.tbptt
    return DocumentsDataModule(
        prepared,
        schedule=tbptt.schedule,
        batch_size=tbptt.batch_size,
        chunk_len=tbptt.chunk_len,
        carry=tbptt.carry,
        eval_batch_size=tbptt.eval_batch_size,
        seed=checked.seed,
        stride=tbptt.k1,
    )


def build(key: str, config: DictConfig | None, **known: Any) -> Any:
    """Call ``config``'s ``_target_`` with its other keys and ``known``; None stays None.

    An argument that the target refuses, now or, with ``_partial_``, later, is the user's: a UserError says what the
    target said, where Hydra would hide it.
    """
    if config is None:
        return None

    def refused(error: Exception) -> UserError:
        otherwise = "; trainer=auto takes the device that there is" if key == "trainer" else ""
        return UserError(f"{key} ({config.get('_target_')}): {error.__cause__ or error}{otherwise}")

    try:
        made = instantiate(config, **known)
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
