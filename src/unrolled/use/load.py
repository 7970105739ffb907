"""Loading a trained classifier from the directory of its run."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from omegaconf import DictConfig, OmegaConf

from unrolled.config import Config, checked
from unrolled.data.saved_tokenizer import tokenizer_from_state
from unrolled.data.vocabulary import Vocabulary
from unrolled.errors import UserError
from unrolled.linear import LinearModel
from unrolled.nn.network import Network
from unrolled.tbptt.schedule import EVALUATION_CHUNK
from unrolled.train.build import build_network, is_linear
from unrolled.train.results import LINEAR_FILE, TOKENIZER_FILE, VOCABULARY_FILE, RunResult, load_result
from unrolled.use.predictor import TextClassifier


@dataclass(frozen=True)
class LoadedRun:
    """A finished run and what it takes to use it."""

    result: RunResult
    config: Config  # its own, as objects
    checkpoint: Path
    model: TextClassifier


def load_run(run: str | Path, checkpoint: str | None = None, device: str | torch.device | None = None) -> LoadedRun:
    """Load the model that ``run`` (a directory, or ``runs/latest``) has trained, onto a GPU where ``device`` is None.

    checkpoint: ``best``, ``last`` or a file; None: the weights that the run has tested. Raises UserError where that is
    no run, not a finished one, or one of another version.
    """
    result = load_result(run)
    path = _checkpoint(result, checkpoint)
    chosen = _device(device)
    config = saved_config(result)
    try:
        valid = checked(config, to_train=False)
    except UserError as error:
        raise UserError(
            f"the configuration of {result.directory} was written by another version ({error}); train again"
        ) from error
    with _sound(result.directory / VOCABULARY_FILE) as file:
        vocabulary = Vocabulary.load(file)
    with _sound(result.directory / TOKENIZER_FILE) as file:
        tokenizer = json.loads(file.read_text(encoding="utf-8"))
    network = linear = None
    if not is_linear(config):
        network = build_network(config, len(vocabulary), len(result.class_names))
        _load_weights(network, path, result, checkpoint)
        network.to(chosen)
    if network is None or network.mix is not None:
        with _sound(result.directory / LINEAR_FILE) as file:
            linear = LinearModel.load(file)
    data = valid.data
    limit = data.max_tokens if data.cut_test else None
    chunk_len = EVALUATION_CHUNK if valid.tbptt.carry else valid.tbptt.chunk_len or EVALUATION_CHUNK
    model = TextClassifier(
        network,
        result.class_names,
        vocabulary,
        tokenizer_from_state(tokenizer),
        chunk_len,
        limit,
        data.cut,
        valid.tbptt.eval_batch_size,
        valid.tbptt.carry,
        result.config.get("data", {}),
        linear,
        f"{result.model or result.name} of {result.directory}",
    )
    return LoadedRun(result, valid, path, model)


def _load_weights(network: Network, path: Path, result: RunResult, checkpoint: str | None) -> None:
    """Put the weights of checkpoint ``path`` of the run into ``network``; checkpoint: as the user named it, if so."""
    own = f"{result.directory} was trained by another version of this program; train again"
    hint = (
        own if checkpoint in (None, "best", "last") else "give checkpoint=best, checkpoint=last or a file of this run"
    )
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    except Exception as error:  # whatever torch raises for files that are no checkpoint
        raise UserError(f"{path} is not a checkpoint that can be read; {hint}") from error
    try:
        network.load_state_dict({name.removeprefix("network."): weight for name, weight in content.items()})
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise UserError(f"{path} has the weights of another model ({reason}); {hint}") from error


def _device(device: str | torch.device | None) -> torch.device:
    """The device, a GPU where there is one if None. Raises UserError for one that is not there."""
    gpu = torch.cuda.is_available()
    if device is None:
        return torch.device("cuda" if gpu else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError:
        chosen = None
    if chosen is None or chosen.type not in ("cpu", "cuda", "meta"):
        raise UserError(f"device={device}: choose cpu or cuda")
    if chosen.type == "cuda" and not gpu:
        raise UserError(f"device={device}: there is no GPU here; leave device out, or give device=cpu")
    return chosen


def saved_config(result: RunResult) -> DictConfig:
    return OmegaConf.create({key: value for key, value in result.config.items() if key != "hydra"})


@contextmanager
def _sound(file: Path) -> Iterator[Path]:
    """A file that every finished run has. Raises UserError where reading it fails."""
    try:
        yield file
    except (OSError, ValueError) as error:
        raise UserError(f"{file} cannot be read ({error}); the run is not complete") from error


def _checkpoint(result: RunResult, wanted: str | None) -> Path:
    directory = result.directory
    names = {"best": result.best_checkpoint, "last": result.last_checkpoint}
    if wanted is None:
        if result.status != "ok":
            there = [f"checkpoint={name}" for name, path in names.items() if path and (directory / path).is_file()]
            raise UserError(
                f"{directory} is not a finished run: {result.status}"
                + (f" ({result.error})" if result.error else "")
                + (f"; to use its weights all the same give {' or '.join(there)}" if there else f"; {_go_on(result)}")
            )
        path = names["best"] or names["last"]
    else:
        path = names.get(wanted, wanted)
    if path is None:
        raise UserError(f"{directory} has no {wanted or ''} checkpoint; {_go_on(result)}".replace("  ", " "))
    file = Path(path) if wanted not in (None, "best", "last") else directory / path
    if not file.is_file():
        raise UserError(f"{file} does not exist; give checkpoint=best, checkpoint=last or a file")
    return file


def _go_on(result: RunResult) -> str:
    """What to do about a run that has noted no weights: a killed one may have points to resume from."""
    from unrolled.train.resume_files import resume_points  # imports Lightning, which predictions need not wait for

    saved = resume_points(result.directory / "checkpoints")
    return f"finish it with python train.py resume={result.directory}" if saved else "it left no weights; train again"
