"""The mix of a network and a linear model: two weights with which their logits are added."""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax

START = np.array([0.5, 1.0])  # of the network and of the linear model: what few documents stay close to
HOLD = 10.0  # nats that a distance of 1 from there costs: several hundred documents outweigh it, a few do not


def fit_mix(
    network: NDArray[np.float32], linear: NDArray[np.float32], labels: NDArray[np.int64]
) -> NDArray[np.float64]:
    """The two weights, none negative, with which the logits ``network`` and ``linear`` (N, C) add up best.

    labels: (N,) the true classes. The weights minimise the summed cross entropy of all N documents plus `HOLD` times
    the squared distance from `START`: network and linear model are stacked (Wolpert 1992) on documents that neither was
    fitted to.
    """
    logits = np.stack([network, linear]).astype(float)  # (2, N, C)
    right = logits[:, np.arange(len(labels)), labels]  # (2, N)

    def cost(mix: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        log_proba = log_softmax(np.tensordot(mix, logits, axes=1), axis=1)  # (N, C)
        away = mix - START
        expected = np.einsum("knc,nc->kn", logits, np.exp(log_proba))  # (2, N)
        total = -log_proba[np.arange(len(labels)), labels].sum() + HOLD * (away**2).sum()
        return float(total), (expected - right).sum(axis=1) + 2 * HOLD * away

    found = minimize(cost, START, jac=True, method="L-BFGS-B", bounds=[(0, None)] * 2)
    return np.asarray(found.x)
