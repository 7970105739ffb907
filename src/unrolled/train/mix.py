"""How much the logits of a network and those of a linear model count in their sum."""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax

START = np.array([0.5, 1.0])  # of the network and of the linear model: what few documents stay close to
HOLD = 10.0  # what a distance of 1 from there costs, in nats: some hundred documents can pay it, a few cannot


def fit_mix(
    network: NDArray[np.float32], linear: NDArray[np.float32], labels: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Two numbers, none negative: with them ``network`` and ``linear`` (N, C), each times its own, add up best.

    labels: (N,) the true classes. Least is the cross entropy of all N documents, summed, plus `HOLD` times the squared
    distance from `START`: a network and a linear model are stacked (Wolpert 1992) with two weights on documents that
    neither was fitted to.
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
