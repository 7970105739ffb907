"""The weights of a network and a linear model in their sum, against NumPy and properties of the optimum."""

import numpy as np
import pytest

from unrolled.train.mix import HOLD, START, fit_mix


def documents(count: int, of_network: float, of_linear: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits of two models and labels drawn from their sum with these weights."""
    rng = np.random.default_rng(0)
    network, linear = rng.normal(size=(2, count, 4)).astype(np.float32) * 2
    proba = np.exp(of_network * network + of_linear * linear)
    proba /= proba.sum(axis=1, keepdims=True)
    labels = np.array([rng.choice(4, p=p) for p in proba])
    return network, linear, labels


@pytest.mark.parametrize("weights", [(1.0, 0.5), (0.0, 2.0), (1.5, 0.0)])
def test_the_weights_that_drew_the_labels_are_found(weights: tuple[float, float]) -> None:
    np.testing.assert_allclose(fit_mix(*documents(20_000, *weights)), weights, atol=0.07)


def test_no_other_mix_is_cheaper() -> None:
    network, linear, labels = documents(40, 0.8, 0.3)

    def cost(mix: np.ndarray) -> float:
        logits = mix[0] * network.astype(float) + mix[1] * linear
        logits -= np.log(np.exp(logits).sum(axis=1, keepdims=True))
        return float(-logits[np.arange(40), labels].sum() + HOLD * ((mix - START) ** 2).sum())

    best = fit_mix(network, linear, labels)
    assert (best > 0).all()
    for angle in np.linspace(0, 2 * np.pi, 16, endpoint=False):
        assert cost(best + 0.02 * np.array([np.cos(angle), np.sin(angle)])) > cost(best)


def test_a_model_that_misleads_counts_nothing_and_few_documents_change_little() -> None:
    network, linear, labels = documents(1000, -1.0, 1.0)
    assert fit_mix(network, linear, labels)[0] == 0.0
    near = fit_mix(network[:1] / 10, linear[:1] / 10, labels[:1])
    np.testing.assert_allclose(near, START, atol=0.1)
