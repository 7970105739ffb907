"""The keys of `tbptt.*`: their types and rules."""

from dataclasses import dataclass
from typing import Literal

from unrolled.arguments import Count, Positive, require

Loss = Literal["final", "every", "linear"]  # what each chunk of a stream counts: `stream.chunk_weights`


@dataclass
class TBPTTConfig:
    """How documents are read in chunks in training (`tbptt.*`); conf/config.yaml says what each key means."""

    schedule: Literal["documents", "stream"] = "documents"
    chunk_len: Count | None = 100
    batch_size: Count = 64
    gradient: Literal["truncated", "exact"] = "truncated"
    memory: Literal["auto", "retain", "recompute"] = "auto"
    memory_mib: Positive | None = None
    carry: bool = True
    loss: Loss = "final"
    k1: Count | None = None
    k2: Count | None = None
    eval_batch_size: Count = 128

    def __post_init__(self) -> None:
        rule = f"tbptt.memory={self.memory} has no budget; choose tbptt.memory=auto"
        self._require(self.memory_mib is None or self.memory == "auto", "memory_mib", rule)
        if self.schedule == "stream":
            self._check_stream()
        else:
            self._check_documents()

    def _require(self, holds: bool, name: str, rule: str) -> None:
        require(holds, f"tbptt.{name}", getattr(self, name), rule)

    def _check_stream(self) -> None:
        if self.k2 is None:
            self._require(self.chunk_len is not None, "chunk_len", "a stream needs a chunk length, such as 64")
            self.k2 = self.chunk_len
        rule = f"in a stream it is the chunk length, which is {self.chunk_len}; set tbptt.chunk_len={self.k2}, too"
        self._require(self.chunk_len in (None, self.k2), "k2", rule)
        self.chunk_len = self.k2
        if self.k1 is None:
            self.k1 = self.k2
        assert self.k1 is not None
        assert self.k2 is not None
        rule = f"with tbptt.k2={self.k2} the tokens in between would never be learned from; it must not exceed k2"
        self._require(self.k1 <= self.k2, "k1", rule)
        rule = (
            f"reading again from k2={self.k2} tokens back needs the state there; set tbptt.carry=true, or k1={self.k2}"
        )
        self._require(self.carry or self.k1 == self.k2, "k1", rule)
        rule = "a stream steps after every chunk, so its gradient is truncated; choose tbptt.schedule=documents"
        self._require(self.gradient == "truncated", "gradient", rule)
        rule = "a stream holds the activations of one chunk only; choose tbptt.memory=auto"
        self._require(self.memory != "recompute", "memory", rule)

    def _check_documents(self) -> None:
        for name in ("k1", "k2"):
            rule = "whole documents have one step each; choose tbptt.schedule=stream, or set tbptt.chunk_len"
            self._require(getattr(self, name) is None, name, rule)
        rule = "whole documents have one loss each; choose tbptt.schedule=stream"
        self._require(self.loss == "final", "loss", rule)
        if self.chunk_len is None:
            rule = "with tbptt.chunk_len=null a document is one chunk: nothing to hand on; set tbptt.chunk_len"
            self._require(self.carry, "carry", rule)
            rule = "with tbptt.chunk_len=null a document is one chunk, of which all is needed; set tbptt.chunk_len"
            self._require(self.memory != "recompute", "memory", rule)
        if self.gradient == "exact":
            self._require(
                self.carry, "carry", "without a carried state no gradient can cross; use tbptt.gradient=truncated"
            )
