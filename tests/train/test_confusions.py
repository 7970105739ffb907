import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from unrolled.train.confusions import draw_confusion_matrix


def test_the_figure_names_the_classes_and_shows_the_counts() -> None:
    figure = draw_confusion_matrix(np.array([[41, 7], [0, 13]]), ["ham", "spam"])
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["ham", "spam"]
    assert {text.get_text(): text.get_position() for text in axes.texts} == {"41": (0, 0), "7": (1, 0), "13": (1, 1)}
    assert axes.get_title() == "54 of 61 right"


@pytest.mark.parametrize(("classes", "documents"), [(2, 9), (20, 400), (20, 12345), (40, 400)])
def test_digits_are_as_large_as_their_cells_allow(classes, documents) -> None:
    counts = np.full((classes, classes), documents)
    figure = draw_confusion_matrix(counts, [f"class {i}" for i in range(classes)])
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    (axes,) = figure.axes
    (left, _), (right, _) = axes.transData.transform([(0, 0), (1, 0)])
    box = axes.texts[0].get_window_extent(canvas.get_renderer())
    assert box.width < right - left, "a number reaches into the next cell"
    assert box.width > 0.5 * (right - left) or axes.texts[0].get_fontsize() >= 12
