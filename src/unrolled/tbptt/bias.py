"""The bias of the truncated gradient: how far it is from the exact one."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from unrolled.nn.network import Network
from unrolled.tbptt.batch import Batch
from unrolled.tbptt.loop import Truncation
from unrolled.tbptt.read import read, start

SEED = 0  # of what is dropped: the same for both gradients


@dataclass(frozen=True)
class GradientBias:
    """Truncated gradient g_K against exact gradient g, both means over the same documents.

    relative_error is the relative bias of Aicher, Foti & Fox (2019), whose bound decides whether truncated steps
    converge: below 1 they still go downhill.
    """

    relative_error: float  # |g_K - g| / |g|
    cosine: float  # g_K g / (|g_K| |g|)


def gradient_bias(network: Network, batches: Sequence[Batch]) -> GradientBias:
    """Of the embedding's and the encoder's gradients, over ``batches`` of whole documents in chunks.

    The head's gradient is left out: truncation does not change it. Generators are left as they were.
    """
    truncated, exact = (
        torch.cat([g.flatten().double() for g in _gradients(network, batches, Truncation(exact=e, recompute=True))])
        for e in (False, True)
    )
    size = exact.norm()
    return GradientBias(
        relative_error=float((truncated - exact).norm() / size),
        cosine=float(truncated @ exact / (truncated.norm() * size)),
    )


def _gradients(network: Network, batches: Sequence[Batch], truncation: Truncation) -> list[Tensor]:
    parameters = [p for part in (network.embedding, network.encoder) for p in part.parameters() if p.requires_grad]
    sums = [torch.zeros_like(p) for p in parameters]
    device = network.device
    devices = [device] if device.type != "cpu" else []
    with torch.random.fork_rng(devices, device_type=device.type if devices else "cuda"), torch.enable_grad():
        torch.manual_seed(SEED)
        for batch in batches:
            batch = batch.to(device)
            network.encoder.draw_weight_masks()
            carried = read(network, batch.blocks, start(network, len(batch.labels)), truncation)
            loss = F.cross_entropy(network.logits(carried.pooled), batch.labels, reduction="sum")
            for total, gradient in zip(sums, torch.autograd.grad(loss, parameters, allow_unused=True), strict=True):
                if gradient is not None:
                    total += gradient
    return sums
