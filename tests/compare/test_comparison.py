import numpy as np
import pytest

from unrolled.compare.comparison import SAME_DOCUMENTS, compare, difference, flatten, is_best
from unrolled.errors import UserError
from unrolled.train.columns import BY_NAME
from unrolled.train.results import find_runs


def test_seeds_become_one_row_with_mean_and_deviation(record, tmp_path) -> None:
    for seed, accuracy in ((0, 0.7), (1, 0.8), (2, 0.9)):
        record("lstm", seed, accuracy)
    record("gru", 0, 0.5)
    comparison = compare(find_runs([tmp_path]))
    lstm, gru = comparison.table.itertuples()
    assert lstm.seeds == [0, 1, 2]
    assert lstm.test_accuracy == pytest.approx(0.8)
    assert lstm.test_accuracy_std == pytest.approx(0.1)
    assert np.isnan(gru.test_accuracy_std)
    assert comparison.keys == ["model"]
    assert comparison.table.label.tolist() == ["lstm", "gru"]


def test_each_run_is_held_against_the_linear_model_of_its_own_documents(record, tmp_path) -> None:
    for seed, accuracy, linear in ((0, 0.7, 0.75), (1, 0.8, 0.79)):
        record("lstm", seed, accuracy, baseline={"test/accuracy": linear})
    record("linear", 0, 0.77)
    linear, lstm = sorted(compare(find_runs([tmp_path])).table.itertuples(), key=lambda row: row.model)
    assert lstm.over_linear == pytest.approx((-0.05 + 0.01) / 2)
    assert np.isnan(linear.over_linear), "it has none beside it"


def test_folds_of_one_cross_validation_become_one_row_for_each_configuration(record, tmp_path) -> None:
    for model, base in (("lstm", 0.7), ("gru", 0.5)):
        for seed in (0, 1):
            for fold in (2, 0, 1):
                record(model, seed, base + fold / 10 + seed / 100, config={"data": {"fold": fold, "folds": 3}})
        record(model, 0, base, config={"data": {"fold": None, "folds": 3}})
    comparison = compare(find_runs([tmp_path]))
    apart, cross = (
        rows for _, rows in sorted(comparison.sections(), key=lambda section: len(section[1].folds.iloc[0]))
    )
    assert cross.model.tolist() == apart.model.tolist() == ["lstm", "gru"]
    assert cross.folds.tolist() == [[0, 1, 2]] * 2
    assert cross.seeds.tolist() == [[0, 1]] * 2
    assert cross.test_accuracy.iloc[0] == pytest.approx(0.805)
    values = [0.7 + fold / 10 + seed / 100 for fold in range(3) for seed in range(2)]
    assert cross.test_accuracy_std.iloc[0] == pytest.approx(np.std(values, ddof=1))
    assert apart.folds.tolist() == [[], []], "what was tested on the given test set is another comparison"
    assert comparison.keys == ["model"]
    assert "Means over seeds and folds" in comparison.notes[-1]
    only = compare(find_runs([tmp_path]), ["data.fold=1", "seed=0"]).table
    assert only.test_accuracy.tolist() == pytest.approx([0.8, 0.6])


def test_only_keys_that_differ_are_columns(record, tmp_path) -> None:
    record("lstm", config={"tbptt": {"chunk_len": 10, "carry": True}, "model": {"_target_": "x.lstm", "zoneout": 0.1}})
    record(
        "lstm", config={"tbptt": {"chunk_len": None, "carry": True}, "model": {"_target_": "x.lstm", "zoneout": 0.1}}
    )
    record("gru", config={"tbptt": {"chunk_len": 10, "carry": True}, "output_dir": "elsewhere"})
    comparison = compare(find_runs([tmp_path]))
    assert comparison.keys == ["model", "tbptt.chunk_len"], "neither the target, nor what only the lstm has, nor paths"
    assert set(comparison.table["tbptt.chunk_len"]) == {"10", "null"}


def test_a_repeated_run_counts_once_and_a_failed_one_is_replaced(record, tmp_path) -> None:
    record("lstm", 0, 0.7)
    record("lstm", 0, 0.75)
    record("lstm", 1, error="no memory")
    record("lstm", 1, 0.85)
    record("lstm", 2, error="no power")
    comparison = compare(find_runs([tmp_path]))
    (row,) = comparison.table.itertuples()
    assert row.test_accuracy == pytest.approx(0.8)
    assert row.status == "2 ok, 1 failed"
    assert [run.error for run in comparison.not_ok] == ["RuntimeError: no memory", "RuntimeError: no power"]


def test_rows_are_sorted_best_first(record, tmp_path) -> None:
    for model, accuracy, parameters in (("rnn", 0.6, 300), ("lstm", 0.9, 200), ("gru", 0.7, 100)):
        record(model, 0, accuracy, parameters={"total": parameters})
    record("broken", error="x")
    order = lambda **options: compare(find_runs([tmp_path]), **options).table.model.tolist()  # noqa: E731
    assert order() == ["lstm", "gru", "rnn", "broken"]
    assert order(sort="parameters") == ["gru", "lstm", "rnn", "broken"]
    assert order(sort="model") == ["broken", "gru", "lstm", "rnn"]


def test_the_best_is_marked_per_column_and_the_others_tested_against_it(record, tmp_path) -> None:
    record("lstm", 0, 0.9, right=[True] * 9 + [False], parameters={"total": 300})
    record("gru", 0, 0.2, right=[True] * 2 + [False] * 8, parameters={"total": 100})
    ((_, section),) = compare(find_runs([tmp_path])).sections()
    assert section.model.tolist() == ["lstm", "gru"]
    assert is_best(section).test_accuracy.tolist() == [True, False]
    assert is_best(section).parameters.tolist() == [False, True]
    assert section.best.tolist() == [True, False]
    assert np.isnan(section.p_value.iloc[0])
    assert section.p_value.iloc[1] == pytest.approx(2 / 2**7)


def test_the_noise_of_float32_decides_no_tie(record, tmp_path) -> None:
    for model, accuracy in (("lstm", float(np.float32(0.95))), ("linear", 0.95), ("gru", 0.9)):
        record(model, 0, accuracy, baseline={"test/accuracy": 0.95}, right=[True] * 9 + [False])
    ((_, section),) = compare(find_runs([tmp_path])).sections()
    assert section.best.tolist() == is_best(section).test_accuracy.tolist() == [True, True, False]
    assert section.p_value.notna().tolist() == [False, False, True]
    assert [BY_NAME["over_linear"].text(number) for number in section.over_linear] == ["0.00", "0.00", "-5.00"]
    assert BY_NAME["over_linear"].text(-0.00001) == "0.00"


def test_filters_keep_what_they_name(record, tmp_path) -> None:
    for model in ("rnn", "lstm", "gru"):
        for seed in (0, 1):
            record(model, seed, config={"tbptt": {"chunk_len": 10}})
    runs = find_runs([tmp_path])
    assert compare(runs, ["model=lstm,gru"]).table.model.tolist() == ["lstm", "gru"]
    assert compare(runs, ["seed=1", "tbptt.chunk_len=10"]).table.seeds.tolist() == [[1]] * 3
    with pytest.raises(
        UserError, match=r"--filter tbtt\.chunk_len: no run has this key; did you mean tbptt\.chunk_len"
    ):
        compare(runs, ["tbtt.chunk_len=10"])
    with pytest.raises(UserError, match=r"--filter nosuch: no run has this key$"):
        compare(runs, ["nosuch=gru"])
    with pytest.raises(UserError, match="no run is left by --filter model=elman; 6 were found"):
        compare(runs, ["model=elman"])
    with pytest.raises(UserError, match="write key=value"):
        compare(runs, ["lstm"])


def test_groups_are_sections_with_their_own_best(record, tmp_path) -> None:
    for layers, models in ((1, {"lstm": 0.6, "gru": 0.7}), (2, {"lstm": 0.9, "gru": 0.8})):
        for model, accuracy in models.items():
            record(model, 0, accuracy, config={"layers": layers})
    comparison = compare(find_runs([tmp_path]), group="layers")
    assert {title: rows.model.iloc[0] for title, rows in comparison.sections()} == {
        "layers=1": "gru",
        "layers=2": "lstm",
    }
    assert all(is_best(rows).test_accuracy.iloc[0] for _, rows in comparison.sections())
    assert comparison.keys == ["model"]
    with pytest.raises(UserError, match="--group layer: no run has this key; did you mean layers"):
        compare(find_runs([tmp_path]), group="layer")


def test_runs_on_different_data_are_never_ranked_together(record, tmp_path) -> None:
    for data, models in (("tweets", {"lstm": 0.6, "gru": 0.7}), ("news", {"lstm": 0.9, "gru": 0.8})):
        for model, accuracy in models.items():
            record(model, 0, accuracy, config={"data": {"_target_": "x.Tables", "corpus": data}}, data=data)
    comparison = compare(find_runs([tmp_path]))
    assert [title for title, _ in comparison.sections()] == ["data=tweets", "data=news"]
    assert [rows.model.iloc[0] for _, rows in comparison.sections()] == ["gru", "lstm"]
    assert comparison.keys == ["model"], "what only names the data set again is no column"
    by_model = compare(find_runs([tmp_path]), group="model")
    assert {title for title, _ in by_model.sections()} == {
        f"data={data}, model={model}" for data in ("tweets", "news") for model in ("lstm", "gru")
    }, "nor are they where another group was asked for"
    assert [t for t, _ in compare(find_runs([tmp_path]), group="data").sections()] == ["data=tweets", "data=news"]


def test_files_of_the_same_kind_are_different_data_and_are_named(record, tmp_path) -> None:
    for file, accuracy in (("a.csv", 0.6), ("b.csv", 0.9)):
        for model, more in (("lstm", 0), ("gru", 0.05)):
            settings = {"_target_": "x.CsvFiles", "train": file, "test": None, "max_tokens": 10}
            record(model, 0, accuracy + more, config={"data": settings}, data="csv")
    comparison = compare(find_runs([tmp_path]))
    assert [title for title, _ in comparison.sections()] == ["data=csv train=a.csv", "data=csv train=b.csv"]
    assert [rows.best.tolist() for _, rows in comparison.sections()] == [[True, False]] * 2
    assert comparison.keys == ["model"]


def test_a_file_that_has_changed_between_two_runs_is_different_data(record, tmp_path) -> None:
    def splits(documents: int) -> dict:
        return {"splits": {"train": {"documents": documents}, "test": {"documents": 5}}}

    settings = {"data": {"train": "a.csv"}}
    record("lstm", 0, config=settings, data="csv", data_summary=splits(20))
    record("gru", 0, config=settings, data="csv", data_summary=splits(30))
    record("rnn", 0, config=settings, data="csv", data_summary=splits(30))
    record("mgu", 0, config=settings, data="csv", error="stopped before anything was read")
    titles = {title: rows.model.tolist() for title, rows in compare(find_runs([tmp_path])).sections()}
    assert titles == {
        "data=csv train=a.csv documents=25": ["lstm", "mgu"],
        "data=csv train=a.csv documents=35": ["gru", "rnn"],
    }


def test_keys_that_leave_the_documents_as_they_are_exist(compose_config) -> None:
    assert set(SAME_DOCUMENTS) <= set(compose_config("data=csv", "data.train=a.csv").data)


def test_how_documents_are_shortened_is_a_setting_and_not_other_data(record, tmp_path) -> None:
    for tokens in (10, 20):
        record("lstm", 0, tokens / 100, config={"data": {"train": "a.csv", "max_tokens": tokens}}, data="csv")
    comparison = compare(find_runs([tmp_path]))
    assert [title for title, _ in comparison.sections()] == [""]
    assert comparison.keys == ["model", "data.max_tokens"], "the model, although it is the same in all"
    assert comparison.table.best.tolist() == [True, False]


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
    ((_, section),) = comparison.sections()
    assert not is_best(section).tokens_per_second.any()
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
    (row,) = compare(find_runs([tmp_path])).table.itertuples()
    assert np.isnan(row.tokens_per_second)
    assert row.test_accuracy == pytest.approx(0.8)


def test_the_difference_of_two_runs_is_what_differs(record) -> None:
    first = record("lstm", 0, 0.8, config={"batch": 8, "same": 1})
    second = record("lstm", 1, 0.9, config={"batch": 16, "same": 1})
    rows = {key: (one, two) for key, one, two in difference(first, second)}
    assert rows["seed"] == ("0", "1")
    assert rows["batch"] == ("8", "16")
    assert rows["test acc"] == ("80.00 %", "90.00 %")
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
    assert len(comparison.table) == 1
    assert "format 0" in (comparison.not_ok[0].error or "")


def test_labels_are_short_and_tell_all_rows_apart(record, tmp_path) -> None:
    for rate, size, note in ((0.1, 8, "a"), (0.1, 16, "a"), (0.1, 16, "b"), (0.2, 8, "a"), (0.2, 16, "a")):
        record("lstm", 0, config={"optimizer": {"lr": rate}, "size": size, "note": note})
    labels = compare(find_runs([tmp_path])).table.label.tolist()
    assert labels == ["lstm size=8", "lstm", "lstm note=b", "lstm lr=0.2 size=8", "lstm lr=0.2"]


def test_labels_leave_out_what_a_configuration_does_not_have(record, tmp_path) -> None:
    record("gru")
    for zoneout in (0, 1):
        record("lstm", config={"model": {"_target_": "x.lstm", "zoneout": zoneout}})
    assert compare(find_runs([tmp_path])).table.label.tolist() == ["gru", "lstm zoneout=0", "lstm zoneout=1"]


def test_labels_say_what_is_missing_where_nothing_else_tells_rows_apart(record, tmp_path) -> None:
    for own in ({}, {"zoneout": 0}, {"zoneout": 0}, {"zoneout": 1}):
        record("lstm", len(own), config={"model": {"_target_": "x.lstm"} | own})
    record("lstm", config={"model": {"_target_": "x.lstm", "zoneout": 0}, "size": 2})
    record("lstm", config={"model": {"_target_": "x.lstm", "zoneout": 0}, "size": 3})
    labels = compare(find_runs([tmp_path])).table.label.tolist()
    assert len(set(labels)) == len(labels) == 5
    assert "zoneout=-" in labels[0]


def test_runs_of_which_none_can_be_read_are_one_message(tmp_path) -> None:
    (tmp_path / "results.json").write_text("{")
    with pytest.raises(UserError, match=r"none of the 1 runs can be read; the first: .*results\.json cannot be read"):
        compare(find_runs([tmp_path]))
