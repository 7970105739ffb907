import numpy as np
import pytest

from unrolled.train.chance import chance_warning

NAMES = ["ham", "spam"]
LABELS = np.array([1, 1, 1, 0, 0])
VALID = np.array([0, 0, 0, 1])


def warning(predicted: list[int], *accuracies: float) -> str | None:
    history = [{"val/accuracy": accuracy} for accuracy in accuracies]
    return chance_warning(LABELS, np.array(predicted), VALID, history, NAMES)


@pytest.mark.parametrize("predicted", [[1, 1, 1, 1, 1], [0, 0, 1, 0, 0], [0, 0, 0, 0, 0], [0, 0, 0, 1, 1]])
def test_an_accuracy_that_the_commonest_class_reaches_is_said(predicted) -> None:
    accuracy = 100 * np.mean(np.array(predicted) == LABELS)
    said = warning(predicted, 0.9)
    assert said is not None
    assert f"the test accuracy is {accuracy:.2f} %, and always answering spam gives 60.00 %" in said
    for key in ("trainer.max_epochs", "tbptt.batch_size", "optimizer.lr"):
        assert key in said


def test_a_better_one_is_not() -> None:
    assert warning([1, 1, 1, 1, 0], 0.75, 0.8) is None
    assert warning([1, 1, 1, 0, 0]) is None, "no validation was made"


def test_training_that_never_left_the_commonest_class_is_said() -> None:
    assert warning([1, 1, 1, 1, 0], 0.75, 0.75) is not None


def test_a_network_that_adds_nothing_to_the_linear_model_is_said() -> None:
    history = [{"val/accuracy": 0.9}]
    mixed = LABELS, np.array([1, 1, 1, 1, 0]), VALID, history, NAMES
    said = chance_warning(*mixed, alone=0.6)
    assert said is not None
    assert (
        "the linear model's: the network's own test accuracy is 60.00 %, and always answering spam gives 60.00 %"
        in said
    )
    assert chance_warning(*mixed, alone=0.8) is None
