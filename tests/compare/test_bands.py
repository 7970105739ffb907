import numpy as np
import pandas as pd
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from unrolled.compare.bands import band, read_scalars, write_bands
from unrolled.compare.comparison import compare
from unrolled.errors import UserError
from unrolled.train.results import find_runs


def test_a_band_is_taken_where_all_curves_have_a_point() -> None:
    first = pd.Series({1: 0.0, 2: 1.0, 4: 2.0})
    second = pd.Series({2: 3.0, 3: 9.0, 4: 2.0})
    both = band([first, second])
    assert both.index.tolist() == [2, 4]
    assert both["mean"].tolist() == [2.0, 2.0]
    np.testing.assert_allclose(both.upper - both["mean"], [np.std([1, 3], ddof=1), 0])
    np.testing.assert_allclose(both["mean"] - both.lower, [np.std([1, 3], ddof=1), 0])
    alone = band([first])
    assert alone.lower.tolist() == alone["mean"].tolist() == alone.upper.tolist() == [0, 1, 2]


def test_mean_lower_and_upper_come_back_as_event_files(record, tmp_path) -> None:
    record("lstm", 0, curve={1: 0.5, 2: 0.6})
    record("lstm", 1, curve={1: 0.7, 2: 0.6})
    record("gru", 0, curve={1: 0.25})
    written = write_bands(compare(find_runs([tmp_path / "runs"])), tmp_path / "bands")
    assert {path.name for path in written} == {"lstm", "gru"}
    curves = read_scalars(tmp_path / "bands" / "lstm")
    deviation = np.std([0.5, 0.7], ddof=1)
    np.testing.assert_allclose(curves["val/accuracy/mean"], [0.6, 0.6], rtol=1e-6)
    np.testing.assert_allclose(curves["val/accuracy/lower"], [0.6 - deviation, 0.6], rtol=1e-6)
    np.testing.assert_allclose(curves["val/accuracy/upper"], [0.6 + deviation, 0.6], rtol=1e-6)
    assert curves["val/accuracy/mean"].index.tolist() == [1, 2]
    events = EventAccumulator(str(tmp_path / "bands" / "lstm"))
    events.Reload()
    assert "custom_scalars__config__" in events.Tags()["tensors"], "the layout that shows bands"


def test_bands_never_mix_with_what_is_there(record, tmp_path) -> None:
    record("lstm", 0, curve={1: 0.5})
    comparison = compare(find_runs([tmp_path]))
    write_bands(comparison, tmp_path / "bands")
    with pytest.raises(UserError, match="name a new directory"):
        write_bands(comparison, tmp_path / "bands")


def test_runs_without_event_files_are_named_as_the_reason(record, tmp_path) -> None:
    record("lstm")
    with pytest.raises(UserError, match="none of these runs has event files"):
        write_bands(compare(find_runs([tmp_path])), tmp_path / "bands")
