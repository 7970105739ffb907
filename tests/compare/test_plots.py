import numpy as np
import pytest
from matplotlib.image import imread

from unrolled.compare.comparison import compare
from unrolled.compare.plots import all_plots, learning_curve, pareto_front, plot_accuracy_against, save_plots
from unrolled.train.results import find_runs

HISTORY = [
    {"step": 4.0, "tokens_seen": 40.0, "val/accuracy": 0.5},
    {"step": 8.0, "tokens_seen": 80.0, "val/accuracy": 0.7},
]


@pytest.mark.parametrize("more_is_better", [True, False])
def test_no_point_beats_one_of_the_front_and_some_beats_each_other(more_is_better) -> None:
    points = [tuple(point) for point in np.random.default_rng(0).integers(0, 30, size=(60, 2)).tolist()]
    sign = 1 if more_is_better else -1

    def beaten(i: int) -> bool:
        x, y = points[i]
        return any(sign * a >= sign * x and b >= y and (a, b) != (x, y) for a, b in points)

    front = pareto_front(points, more_is_better)
    assert {points[i] for i in front} == {points[i] for i in range(len(points)) if not beaten(i)}
    assert [points[i][0] for i in front] == sorted(points[i][0] for i in front)


def test_curves_of_seeds_become_mean_and_deviation(record) -> None:
    other = [row | {"val/accuracy": row["val/accuracy"] + 0.2} for row in HISTORY]
    longer = [*HISTORY, {"step": 12.0, "tokens_seen": 120.0, "val/accuracy": 0.1}]
    curve = learning_curve([record(seed=0, history=longer), record(seed=1, history=other)])
    assert curve.tokens.tolist() == [40, 80]
    np.testing.assert_allclose(curve["mean"], [0.6, 0.8])
    np.testing.assert_allclose(curve["std"], np.std([0, 0.2], ddof=1))
    assert learning_curve([record(seed=3, history=HISTORY)])["std"].tolist() == [0, 0]
    assert learning_curve([record(seed=2, history=[])]).empty
    assert learning_curve([]).empty


def test_plots_are_written_as_png_and_svg(record, tmp_path) -> None:
    record("lstm", 0, 0.8, history=HISTORY, parameters={"total": 100})
    record("gru", 0, 0.7, history=HISTORY, parameters={"total": 50})
    written = save_plots(compare(find_runs([tmp_path])), tmp_path / "plots")
    assert {path.name for path in written} == {
        f"{name}.{ending}"
        for name in ("accuracy_parameters", "accuracy_speed", "learning_curves")
        for ending in ("png", "svg")
    }
    assert all(imread(path).std() > 0 for path in written if path.suffix == ".png")
    assert all("<svg" in path.read_text() for path in written if path.suffix == ".svg")


def test_a_front_over_incomparable_timings_is_not_drawn(record, tmp_path) -> None:
    record("lstm", 0, 0.8)
    record("gru", 0, 0.7, environment={"threads": 1})
    comparison = compare(find_runs([tmp_path]))
    figure = plot_accuracy_against(comparison.table, "tokens_per_second")
    assert "NOT comparable" in figure.axes[0].get_title()
    assert not figure.legends
    assert plot_accuracy_against(comparison.table, "parameters").legends


def test_different_data_have_plots_of_their_own(record, tmp_path) -> None:
    for data in ("tweets", "news"):
        settings = {"data": {"corpus": data}}
        record("lstm", 0, 0.8, config=settings, data=data, history=HISTORY, parameters={"total": 100})
        record("gru", 0, 0.7, config=settings, data=data, history=HISTORY, parameters={"total": 50})
    comparison = compare(find_runs([tmp_path]))
    figures = {name: (title, figure) for name, title, figure in all_plots(comparison)}
    assert len(figures) == 6
    for number, data in enumerate(("tweets", "news"), start=1):
        title, figure = figures[f"learning_curves_{number}"]
        assert title == f"Learning curves, data={data}"
        assert len(figure.axes[0].lines) == 2
        assert figure.get_suptitle() == f"data={data}"
        _, figure = figures[f"accuracy_parameters_{number}"]
        assert len(figure.axes[0].texts) == 2


def test_groups_on_the_same_data_share_a_plot_and_have_fronts_of_their_own(record, tmp_path) -> None:
    for model, total, accuracy in (("lstm", 100, 0.8), ("gru", 50, 0.7)):
        record(model, 0, accuracy, parameters={"total": total})
    comparison = compare(find_runs([tmp_path]), group="model")
    (legend,) = plot_accuracy_against(comparison.table, "parameters").legends
    assert {text.get_text() for text in legend.get_texts()} == {"Pareto front, model=lstm", "Pareto front, model=gru"}
