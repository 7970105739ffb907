"""How far a truncated gradient is from the exact one."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from unrolled.tbptt.batch import Batch
from unrolled.tbptt.reading import Reading, pooled_value
from unrolled.train.classifier import Classifier

SEED = 0  # of what is dropped: the same for both gradients


@dataclass(frozen=True)
class GradientBias:
    """Truncated gradient g_K against exact gradient g, both means over the same documents.

    relative_error is the relative bias of Aicher, Foti & Fox (2019), whose bound decides whether truncated steps
    converge: below 1 they still go downhill.
    """

    relative_error: float  # |g_K - g| / |g|
    cosine: float  # g_K g / (|g_K| |g|)


def gradient_bias(model: Classifier, steps: Sequence[Batch]) -> GradientBias:
    """Of the embedding's and the encoder's gradients, over ``steps`` of whole documents cut into chunks.

    The head's gradient is left out: truncation does not change it. Generators are left as they were.
    """
    truncated, exact = (
        torch.cat([g.flatten().double() for g in _gradients(model, steps, Reading(exact=e, recompute=True))])
        for e in (False, True)
    )
    size = exact.norm()
    return GradientBias(
        relative_error=float((truncated - exact).norm() / size),
        cosine=float(truncated @ exact / (truncated.norm() * size)),
    )


def _gradients(model: Classifier, steps: Sequence[Batch], reading: Reading) -> list[Tensor]:
    parameters = [p for part in (model.embedding, model.encoder) for p in part.parameters() if p.requires_grad]
    sums = [torch.zeros_like(p) for p in parameters]
    device = parameters[0].device
    devices = [device] if device.type != "cpu" else []
    with torch.random.fork_rng(devices, device_type=device.type if devices else "cuda"), torch.enable_grad():
        torch.manual_seed(SEED)
        for step in steps:
            step = step.to(device)
            model.encoder.redraw()
            carries = reading.start(model.encoder, model.pooling, len(step.labels), device)
            carries = reading.read(model.embedding, model.encoder, model.pooling, step.blocks, carries)
            logits = model.head(model.dropout(pooled_value(model.pooling, carries)))
            loss = F.cross_entropy(logits, step.labels, reduction="sum")
            for total, gradient in zip(sums, torch.autograd.grad(loss, parameters, allow_unused=True), strict=True):
                if gradient is not None:
                    total += gradient
    return sums
