"""Encoders and pooling by short names, for tests."""

from functools import partial

from unrolled.nn.models import IMPLEMENTATIONS, build_encoder
from unrolled.nn.pooling import Attention, Concat, Last, Max, Mean, Pooling

rnn = partial(build_encoder, cell="rnn")
lstm = partial(build_encoder, cell="lstm")
gru = partial(build_encoder, cell="gru")
memoryless = partial(build_encoder, cell="memoryless")
lstm_per_gate = partial(build_encoder, cell="unrolled.nn.cells.PerGateLSTMCell")
lstm_single_matrix = partial(build_encoder, cell="unrolled.nn.cells.SingleMatrixLSTMCell")

POOLINGS: dict[str, type[Pooling]] = {"last": Last, "mean": Mean, "max": Max, "concat": Concat, "attention": Attention}

__all__ = [
    "IMPLEMENTATIONS",
    "POOLINGS",
    "build_encoder",
    "gru",
    "lstm",
    "lstm_per_gate",
    "lstm_single_matrix",
    "memoryless",
    "rnn",
]
