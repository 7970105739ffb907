"""Subword tokenizers, trained on the training documents with the ``tokenizers`` library (extra ``subword``)."""

import hashlib
import json
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

from unrolled.data.extras import require_extra
from unrolled.data.tokenizer import Tokenizer
from unrolled.data.vocabulary import UNK
from unrolled.files import disk_errors, lock, write_atomically

log = logging.getLogger(__name__)

RECIPE = 1  # part of the key under which a model is kept: raise it when training changes
DEFAULT_SIZE = 8000  # subwords, where text.max_size does not say


class Subword(Tokenizer):
    """Words split into the subwords that a trained model knows; a word's first subword begins with ▁ (its blank).

    bpe: byte-pair encoding, pairs merged by frequency (Sennrich et al., 2016). unigram: the likeliest pieces under
    a unigram model (Kudo, 2018). Both see characters, so they read languages without spaces; characters that training
    documents do not have are in no vocabulary, and so ``<unk>`` to a model.

    model: what the library wrote of the trained model, JSON; normalization: see `Tokenizer`.
    """

    kind: str  # type: ignore[misc]  # here it differs by object
    KINDS: ClassVar[tuple[str, ...]] = ("bpe", "unigram")

    def __init__(self, kind: str, model: str, normalization: str | None = None) -> None:
        require_extra("tokenizers", "subword", f"text={kind}")
        import tokenizers

        super().__init__(normalization)
        self.kind = kind
        self.model = model
        self._tokenizer = tokenizers.Tokenizer.from_str(model)

    def tokenize(self, text: str) -> list[str]:
        pieces: list[str] = self._tokenizer.encode(text, add_special_tokens=False).tokens
        return pieces

    def state(self) -> dict[str, Any]:
        return super().state() | {"model": self.model}

    def describe(self) -> dict[str, Any]:
        return super().state() | {"model_sha256": _sha256(self.model)}


def train_subword(kind: str, texts: Iterable[str], size: int | None, normalization: str | None) -> Subword:
    """Train on ``texts``, read once.

    The same texts give the same bpe model. The library's unigram trainer breaks ties at random, so two trainings may
    differ in a few pieces: what is trained is kept, in the cache and in the state that a checkpoint holds.

    size: entries of the vocabulary, ``<pad>`` and ``<unk>`` included; None: 8,000; kind, normalization: see `Subword`.
    """
    require_extra("tokenizers", "subword", f"text={kind}")
    from tokenizers import Tokenizer as Model
    from tokenizers import models, normalizers, pre_tokenizers, trainers

    pieces = (size or DEFAULT_SIZE) - 1  # the library counts <unk> but has no <pad>
    model = Model(models.BPE(unk_token=UNK) if kind == "bpe" else models.Unigram())
    model.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Metaspace(), pre_tokenizers.Punctuation()])
    shared: dict[str, Any] = {"vocab_size": pieces, "special_tokens": [UNK], "show_progress": False}
    trainer = trainers.BpeTrainer(**shared) if kind == "bpe" else trainers.UnigramTrainer(unk_token=UNK, **shared)
    if normalization is not None:
        model.normalizer = getattr(normalizers, normalization)()
    model.train_from_iterator(texts, trainer)
    return Subword(kind, model.to_str(), normalization)


def trained_subword(
    kind: str,
    texts: Iterable[str],
    size: int | None,
    normalization: str | None,
    depends_on: dict[str, Any],
    cache_dir: Path,
) -> Subword:
    """The tokenizer of `train_subword` from the cache, otherwise trained and kept there.

    depends_on: plain values that change whenever ``texts`` would, which are read only to train.
    """
    settings = {"recipe": RECIPE, "kind": kind, "size": size, "normalization": normalization, "texts": depends_on}
    key = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]
    folder = cache_dir / "tokenizers"
    path = folder / f"{kind}-{key}.json"
    with lock(folder / f"{key}.lock", f"is training the tokenizer {kind}"):
        kept = _read(path)
        if kept is not None:
            return Subword(kind, kept, normalization)
        if path.exists():
            log.warning("The kept tokenizer %s is damaged; it is trained again.", path)
        log.info("Training the tokenizer %s, once.", kind)
        trained = train_subword(kind, texts, size, normalization)
        with disk_errors(folder):
            write_atomically(path, json.dumps({"model": trained.model, "sha256": _sha256(trained.model)}))
    return trained


def _read(path: Path) -> str | None:
    """The model that is kept in ``path``, if it is there and undamaged."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        model = kept["model"]
        return model if _sha256(model) == kept["sha256"] else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _sha256(model: str) -> str:
    return hashlib.sha256(model.encode()).hexdigest()
