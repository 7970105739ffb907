import pytest

from unrolled.compare.comparison import BY_NAME, compare, difference, flatten
from unrolled.errors import UserError
from unrolled.train.results import find_runs

ACCURACY = BY_NAME["test_accuracy"]
SPEED = BY_NAME["tokens_per_second"]


def test_seeds_become_one_row_with_mean_and_deviation(record, tmp_path) -> None:
    for seed, accuracy in ((0, 0.7), (1, 0.8), (2, 0.9)):
        record("lstm", seed, accuracy)
    record("gru", 0, 0.5)
    comparison = compare(find_runs([tmp_path]))
    lstm, gru = comparison.rows
    assert lstm.seeds == [0, 1, 2]
    assert lstm.mean(ACCURACY) == pytest.approx(0.8)
    assert lstm.deviation(ACCURACY) == pytest.approx(0.1)
    assert gru.deviation(ACCURACY) is None
    assert comparison.keys == ["model"]
    assert [row.label for row in comparison.rows] == ["lstm", "gru"]


def test_only_keys_that_differ_are_columns(record, tmp_path) -> None:
    record("lstm", config={"tbptt": {"chunk_len": 10, "carry": True}, "model": {"_target_": "x.lstm", "zoneout": 0.1}})
    record(
        "lstm", config={"tbptt": {"chunk_len": None, "carry": True}, "model": {"_target_": "x.lstm", "zoneout": 0.1}}
    )
    record("gru", config={"tbptt": {"chunk_len": 10, "carry": True}, "output_dir": "elsewhere"})
    comparison = compare(find_runs([tmp_path]))
    assert comparison.keys == ["model", "tbptt.chunk_len"], "neither the target, nor what only the lstm has, nor paths"
    assert {row.settings["tbptt.chunk_len"] for row in comparison.rows} == {"10", "null"}


def test_a_repeated_run_counts_once_and_a_failed_one_is_replaced(record, tmp_path) -> None:
    record("lstm", 0, 0.7)
    record("lstm", 0, 0.75)
    record("lstm", 1, error="no memory")
    record("lstm", 1, 0.85)
    record("lstm", 2, error="no power")
    comparison = compare(find_runs([tmp_path]))
    (row,) = comparison.rows
    assert row.mean(ACCURACY) == pytest.approx(0.8)
    assert row.status == "2 ok, 1 failed"
    assert [run.error for run in comparison.troubled] == ["RuntimeError: no memory", "RuntimeError: no power"]


def test_rows_are_sorted_best_first(record, tmp_path) -> None:
    for model, accuracy, parameters in (("rnn", 0.6, 300), ("lstm", 0.9, 200), ("gru", 0.7, 100)):
        record(model, 0, accuracy, parameters={"total": parameters})
    record("broken", error="x")
    order = lambda **options: [row.runs[0].model for row in compare(find_runs([tmp_path]), **options).rows]  # noqa: E731
    assert order() == ["lstm", "gru", "rnn", "broken"]
    assert order(sort="parameters") == ["gru", "lstm", "rnn", "broken"]
    assert order(sort="model") == ["broken", "gru", "lstm", "rnn"]


def test_the_best_is_marked_per_column_and_the_others_tested_against_it(record, tmp_path) -> None:
    record("lstm", 0, 0.9, right=[True] * 9 + [False], parameters={"total": 300})
    record("gru", 0, 0.2, right=[True] * 2 + [False] * 8, parameters={"total": 100})
    (section,) = compare(find_runs([tmp_path])).sections
    lstm, gru = section.rows
    assert section.is_best(lstm, ACCURACY)
    assert not section.is_best(gru, ACCURACY)
    assert section.is_best(gru, BY_NAME["parameters"])
    assert lstm.is_best
    assert lstm.p_value is None
    assert gru.p_value == pytest.approx(2 / 2**7)


def test_filters_keep_what_they_name(record, tmp_path) -> None:
    for model in ("rnn", "lstm", "gru"):
        for seed in (0, 1):
            record(model, seed, config={"tbptt": {"chunk_len": 10}})
    runs = find_runs([tmp_path])
    assert [row.runs[0].model for row in compare(runs, ["model=lstm,gru"]).rows] == ["lstm", "gru"]
    assert all(row.seeds == [1] for row in compare(runs, ["seed=1", "tbptt.chunk_len=10"]).rows)
    with pytest.raises(
        UserError, match=r"--filter tbtt\.chunk_len: no run has this key; did you mean tbptt\.chunk_len"
    ):
        compare(runs, ["tbtt.chunk_len=10"])
    with pytest.raises(UserError, match="no run is left by --filter model=elman; 6 were found"):
        compare(runs, ["model=elman"])
    with pytest.raises(UserError, match="write key=value"):
        compare(runs, ["lstm"])


def test_groups_are_sections_with_their_own_best(record, tmp_path) -> None:
    for layers, models in ((1, {"lstm": 0.6, "gru": 0.7}), (2, {"lstm": 0.9, "gru": 0.8})):
        for model, accuracy in models.items():
            record(model, 0, accuracy, config={"layers": layers})
    comparison = compare(find_runs([tmp_path]), group="layers")
    assert {s.title: s.rows[0].runs[0].model for s in comparison.sections} == {"layers=1": "gru", "layers=2": "lstm"}
    assert all(section.is_best(section.rows[0], ACCURACY) for section in comparison.sections)
    assert comparison.keys == ["model"]
    with pytest.raises(UserError, match="--group layer: no run has this key; did you mean layers"):
        compare(find_runs([tmp_path]), group="layer")


def test_runs_on_different_data_are_never_ranked_together(record, tmp_path) -> None:
    for data, models in (("tweets", {"lstm": 0.6, "gru": 0.7}), ("news", {"lstm": 0.9, "gru": 0.8})):
        for model, accuracy in models.items():
            record(model, 0, accuracy, config={"data": {"_target_": "x.Tables", "corpus": data}}, data=data)
    comparison = compare(find_runs([tmp_path]))
    assert [section.title for section in comparison.sections] == ["data=tweets", "data=news"]
    assert [section.rows[0].runs[0].model for section in comparison.sections] == ["gru", "lstm"]
    assert comparison.keys == ["model"], "what only names the data set again is no column"


@pytest.mark.parametrize(
    "other",
    [
        {"threads": 1},
        {"device": "cuda", "device_name": "a GPU"},
        {"precision": "bf16-mixed"},
        {"timed_in_parallel": True},
    ],
)
def test_timings_from_different_places_are_flagged_and_never_ranked(record, tmp_path, other) -> None:
    record("lstm", speed={"tokens_per_second": 1.0})
    record("gru", speed={"tokens_per_second": 2.0}, environment=other)
    runs = find_runs([tmp_path])
    comparison = compare(runs)
    (section,) = comparison.sections
    assert not any(section.is_best(row, SPEED) for row in section.rows)
    assert "NOT comparable" in comparison.notes[0]
    with pytest.raises(UserError, match="cannot be ranked"):
        compare(runs, sort="tokens_per_second")


def test_timings_taken_in_parallel_are_flagged_even_if_all_are(record, tmp_path) -> None:
    record("lstm", environment={"timed_in_parallel": True})
    record("gru", environment={"timed_in_parallel": True})
    assert "in parallel" in compare(find_runs([tmp_path])).notes[0]


def test_timings_of_seeds_taken_in_different_places_are_not_averaged(record, tmp_path) -> None:
    record("lstm", 0)
    record("lstm", 1, environment={"threads": 1})
    (row,) = compare(find_runs([tmp_path])).rows
    assert row.mean(SPEED) is None
    assert row.mean(ACCURACY) == pytest.approx(0.8)


def test_the_difference_of_two_runs_is_what_differs(record) -> None:
    first = record("lstm", 0, 0.8, config={"batch": 8, "same": 1})
    second = record("lstm", 1, 0.9, config={"batch": 16, "same": 1})
    rows = {key: (one, two) for key, one, two in difference(first, second)}
    assert rows["seed"] == ("0", "1")
    assert rows["batch"] == ("8", "16")
    assert rows["test acc %"] == ("80.00", "90.00")
    assert "same" not in rows
    assert "model" not in rows


def test_settings_are_flat_and_readable(record) -> None:
    run = record(
        "lstm", config={"optimizer": {"_target_": "torch.optim.Adam", "betas": [0.9, 0.99]}, "choices": {"a": 1}}
    )
    flat = flatten(run)
    assert flat == {"data": "tweets", "model": "lstm", "optimizer": "Adam", "optimizer.betas": "[0.9, 0.99]"}


def test_a_run_of_another_version_is_listed_and_does_not_stop_the_rest(record, tmp_path) -> None:
    record("lstm")
    other = tmp_path / "runs" / "old" / "1"
    other.mkdir(parents=True)
    (other / "results.json").write_text('{"format": 0}')
    comparison = compare(find_runs([tmp_path]))
    assert len(comparison.rows) == 1
    assert "format 0" in (comparison.troubled[0].error or "")
