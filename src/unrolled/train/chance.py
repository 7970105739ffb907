"""Warning for a run that learned nothing beyond the most frequent class."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray


def chance_warning(
    labels: NDArray[np.int64],
    predicted: NDArray[np.int64],
    valid_labels: NDArray[np.int64],
    history: Sequence[Mapping[str, float]],
    class_names: Sequence[str],
    alone: float | None = None,
) -> str | None:
    """One sentence for a run that is no better than the most frequent class, None for any other.

    labels, predicted: (N,) classes of the test documents; valid_labels: (M,) those of the validation documents;
    history: a row per validation; alone: test accuracy of the network without the linear model that it is mixed with.
    Compared with the most frequent class are the test accuracy, that of the network alone and, in case training never
    left that class, the accuracy of every validation.
    """
    counts = np.bincount(labels, minlength=len(class_names))
    right, most_frequent = int((labels == predicted).sum()), int(counts.max())
    share = np.bincount(valid_labels).max() / len(valid_labels)
    never_left = bool(history) and all(abs(row.get("val/accuracy", 1.0) - share) < 1e-6 for row in history)
    reached, always = right / len(labels), most_frequent / len(labels)
    what = "nothing was learned beyond the most frequent class: the test accuracy"
    if right > most_frequent and not never_left:
        if alone is None or alone > always + 1e-6:
            return None
        what = (
            "the network has learned nothing beyond the most frequent class, and what the run reaches is the linear "
            "model's: the network's own test accuracy"
        )
        reached = alone
    return (
        f"{what} is {100 * reached:.2f} %, and always answering {class_names[int(counts.argmax())]} gives "
        f"{100 * always:.2f} %; try more optimizer steps (recipe=strong, or a larger trainer.max_epochs and a smaller "
        "tbptt.batch_size), another optimizer.lr, or text=characters where no blanks separate the words"
    )
