"""Export of a trained run to ONNX: `python export.py run=<directory>`."""

import argparse
import json
import logging
import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.onnx import register_custom_op_symbolic

from unrolled.data.extras import require_extra
from unrolled.errors import UserError
from unrolled.files import write_atomically
from unrolled.linear import LinearModel
from unrolled.train.build import build, without
from unrolled.train.results import LINEAR_FILE, VOCABULARY_FILE
from unrolled.use.key_values import parse_key_values
from unrolled.use.load import LoadedRun, load_run, saved_config
from unrolled.use.predictor import TextClassifier

DESCRIPTION = """\
Write the model of a run as ONNX, to be used without torch. It reads one
document, a chunk at a time, with the carried state as input and output, so
documents may be of any length and may come as a stream. Before anything is
written, the model is checked against the one in torch with onnxruntime (extra
`export`).
"""

KEYS = {
    "run": "directory of a finished run, or runs/latest",
    "format": "onnx (onnx)",
    "output": "directory to write, new or empty (<run>/export)",
    "chunk": "tokens per chunk (64)",
    "checkpoint": "best, last or a file (the weights that the run has tested)",
}

EXAMPLES = """\
writes:
  model.onnx     inputs tokens (K, 1), length (1,), scores (1, C), carry_0, ...
                 outputs probabilities (1, C), next_carry_0, next_carry_1, ...
  carry.npz      the carry before the first token
  linear.npz     the linear model whose scores of the document are an input
                 (with model.wide=true)
  labels.txt     the classes, one per line, in the order of the probabilities
  vocabulary.txt one token per line, whose number (from 0) is its id;
                 0 pads, 1 is unknown
  model.json     chunk length and tokenizer

example:
  python export.py run=runs/latest format=onnx output=exported
"""

OPSET = 17
TOLERANCE = 1e-4  # largest difference of a probability between torch and onnxruntime


class ChunkModel(nn.Module):
    """A classifier as a function of one chunk and the carry.

    Called with tokens (K, 1), length (1,) of which count (fewer than K only in a document's last chunk), with a wide
    path the linear model's scores (1, C) of the document, and the carry: the recurrent state (L, 1, H), then the
    pooling's statistics (1, ...). Returns the probabilities (1, C) for what has been read so far, and the carry after
    it.
    """

    def __init__(self, model: TextClassifier) -> None:
        super().__init__()
        assert model.network is not None
        self.network = model.network
        self.carries_state = model.truncation.carry
        self.num_states = len(self.network.encoder.initial_state(1))

    def start(self) -> tuple[Tensor, ...]:
        return (*self.network.encoder.initial_state(1), *self.network.initial_pooled(1))

    def forward(self, tokens: Tensor, length: Tensor, *carried: Tensor) -> tuple[Tensor, ...]:
        network, scores = self.network, None
        if network.mix is not None:
            scores, carried = carried[0], carried[1:]
        state, pooled = carried[: self.num_states], carried[self.num_states :]
        if not self.carries_state:
            state = network.encoder.initial_state(1)
        outputs, state = network.encoder(network.embedding(tokens), state)
        pooled = network.pooling.update(pooled, outputs, length)
        return (network.mixed(network.logits(pooled), scores).softmax(dim=1), *state, *pooled)


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser("export.py", description=DESCRIPTION, epilog=EXAMPLES)
    _, given = parse_key_values(parser, arguments, KEYS, required=["run"])
    if given.get("format", "onnx") != "onnx":
        raise UserError(f"format={given['format']}: onnx is the only format")
    chunk = given.get("chunk", "64")
    if not chunk.isdigit() or int(chunk) < 1:
        raise UserError(f"chunk={chunk}: a whole number of tokens, at least 1")
    run = load_run(given["run"], given.get("checkpoint"), device="cpu")
    directory = Path(given["output"]) if "output" in given else run.result.directory / "export"
    difference = export_onnx(run, directory, int(chunk))
    print(f"checked: at most {difference:.1e} from torch's probabilities\nwritten to {directory}")


def export_onnx(run: LoadedRun, directory: Path, chunk: int = 64) -> float:
    """Write the model of ``run`` to ``directory``; the largest difference of a probability from torch's.

    Raises UserError where onnxruntime is not there, the directory is not empty, the model reads documents from both
    ends, or the exported one says something else.
    """
    network = run.model.network
    if network is None:
        raise UserError(
            f"model=linear has no network to export: {run.checkpoint} is the whole model, and LinearModel of "
            "unrolled.linear reads it without torch"
        )
    for package in ("onnx", "onnxruntime"):
        require_extra(package, "export", "format=onnx")
    if directory.exists() and not directory.is_dir():
        raise UserError(f"output={directory} is a file; name a directory, new or empty")
    if directory.is_dir() and any(directory.iterdir()):
        raise UserError(f"output={directory} is not empty, and nothing is overwritten; name another directory")
    if network.encoder.bidirectional:
        raise UserError(
            "a model that reads documents from both ends cannot go chunk by chunk; train with model.bidirectional=false"
        )
    if not run.config.tbptt.carry:
        chunk = run.model.chunk_len  # each chunk starts afresh, so its length matters
    model = ChunkModel(_handwritten(run)).eval()
    directory.mkdir(parents=True, exist_ok=True)
    try:
        _write_model(model, directory / "model.onnx", chunk)
        carry = {f"carry_{i}": tensor.detach().numpy() for i, tensor in enumerate(model.start())}
        np.savez(directory / "carry.npz", allow_pickle=False, **carry)
        if run.model.linear is not None:
            run.model.linear.save(directory / LINEAR_FILE)
        difference = largest_difference(run.model, directory, chunk)
        if not difference <= TOLERANCE:
            raise UserError(
                f"the exported model differs from the one in torch by {difference:.1e} in a probability, more than "
                f"{TOLERANCE:.0e}; nothing was written"
            )
    except BaseException:
        shutil.rmtree(directory)
        raise
    shutil.copyfile(run.result.directory / VOCABULARY_FILE, directory / VOCABULARY_FILE)
    write_atomically(directory / "labels.txt", "".join(f"{name}\n" for name in run.model.classes_))
    description = {
        "chunk_len": chunk,
        "tokenizer": run.model.tokenizer.state(),
        "max_tokens": run.model.max_tokens,
        "keep": run.model.keep,
        "carry": {name: list(array.shape) for name, array in carry.items()},
        "trained_by": run.result.name,
    }
    write_atomically(directory / "model.json", json.dumps(description, indent=2, ensure_ascii=False) + "\n")
    return difference


def largest_difference(model: TextClassifier, directory: Path, chunk: int) -> float:
    """The largest difference of a probability between ``model`` and the exported one, over documents of odd lengths."""
    rng = np.random.default_rng(0)
    words = model.vocabulary.tokens
    lengths = (0, 1, chunk - 1, chunk, chunk + 1, 3 * chunk + 2)
    documents = [rng.integers(1, len(words), size=length).astype(np.int32) for length in lengths]
    limit, model.max_tokens = model.max_tokens, None  # whole documents: cutting is the caller's
    try:
        expected = model._read(documents)
    finally:
        model.max_tokens = limit
    found = np.stack([run_onnx(directory, document, chunk) for document in documents])
    return float(np.abs(found - expected).max())


def run_onnx(directory: Path, ids: NDArray[Any], chunk: int) -> NDArray[np.float32]:
    """The probabilities [C] that the model in ``directory`` gives a document of vocabulary ids [T]."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(directory / "model.onnx"), providers=["CPUExecutionProvider"])
    carry = dict(np.load(directory / "carry.npz", allow_pickle=False))
    scores = None
    if (directory / LINEAR_FILE).is_file():
        scores = LinearModel.load(directory / LINEAR_FILE).logits_of_document(np.asarray(ids).tolist())[None]
    probabilities = np.zeros(0, dtype=np.float32)
    for begin in range(0, max(len(ids), 1), chunk):
        part = np.asarray(ids[begin : begin + chunk], dtype=np.int64)
        tokens = np.zeros((chunk, 1), dtype=np.int64)
        tokens[: len(part), 0] = part
        given = {"tokens": tokens, "length": np.array([len(part)], dtype=np.int64), **carry}
        if scores is not None:
            given["scores"] = scores
        known = {node.name for node in session.get_inputs()}
        probabilities, *after = session.run(None, {name: value for name, value in given.items() if name in known})
        carry = dict(zip(carry, after, strict=True))
    return probabilities[0]


def _write_model(model: ChunkModel, path: Path, chunk: int) -> None:
    carry = model.start()
    head = model.network.head
    scores = [torch.zeros(1, head.out_features)] if model.network.mix is not None else []
    names = [f"carry_{i}" for i in range(len(carry))]
    tokens, length = torch.ones(chunk, 1, dtype=torch.int64), torch.tensor([max(chunk - 1, 0)])
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    register_custom_op_symbolic("aten::isneginf", _is_negative_infinity, OPSET)  # torch has none
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer's, about shapes that are fixed on purpose
        torch.onnx.export(
            model,
            (tokens, length, *scores, *carry),
            str(path),
            input_names=["tokens", "length", *["scores"] * len(scores), *names],
            output_names=["probabilities", *(f"next_{name}" for name in names)],
            opset_version=OPSET,
            dynamo=False,
        )


def _is_negative_infinity(graph: Any, x: Any) -> Any:
    return graph.op("IsInf", x, detect_positive_i=0)


def _handwritten(run: LoadedRun) -> TextClassifier:
    """The same model with the handwritten encoder: plain operators, where torch.nn's projection has none in ONNX."""
    if getattr(run.config.model, "implementation", None) is None and "implementation" not in run.config.model:
        return run.model
    config = saved_config(run.result).model
    config.implementation = "handwritten"
    network = run.model.network
    assert network is not None
    encoder = build("model", without(config, "wide"), input_size=run.config.embedding.embedding_dim)
    weights = network.encoder.state_dict()
    encoder.load_state_dict({name.replace(".module.", "."): weight for name, weight in weights.items()})
    network.encoder = encoder.eval()
    return run.model
