import io

from rich.console import Console

from unrolled.data.summary import QUANTILES
from unrolled.train.results import NETWORK_ALONE, RunResult
from unrolled.train.table import print_data, print_run


def printed(run: RunResult, width: int = 160) -> str:
    out = io.StringIO()
    print_run(run, "runs", Console(file=out, width=width))
    return out.getvalue()


def test_the_table_shows_what_a_run_reached() -> None:
    run = RunResult(
        name="a",
        model="lstmp",
        implementation="official",
        status="ok",
        parameters={"total": 1234567},
        metrics={"val/accuracy": 0.8125, "test/accuracy": 0.79999, "test/macro_f1": 0.75},
        speed={"tokens_per_second": 41234.5, "peak_memory_mb": 812.3},
        wall_time_s=95.0,
    )
    row = printed(run).splitlines()[2]
    for cell in ("lstmp", "official", "1,234,567", "81.25 %", "80.00 %", "75.00 %", "41,234", "812 MiB", "1:35"):
        assert cell in row
    for logger, shown in (("TensorBoardLogger", True), ("CSVLogger", False), (None, False)):
        run.config["logger"] = logger and {"_target_": f"pytorch_lightning.loggers.{logger}"}
        assert printed(run).rstrip().endswith("tensorboard --logdir runs") is shown
    assert "network alone" not in printed(run)
    run.metrics[NETWORK_ALONE] = 0.4
    assert "network alone: test acc 40.00 %" in printed(run).splitlines()
    assert "-" in printed(RunResult(name="a", model="gru", status="ok")).splitlines()[2]


def test_the_baseline_stands_under_the_table_and_where_it_is_better_the_line_says_so() -> None:
    """Better by more than a standard error: of 400 documents of which 80 % are right, that is 2 %."""
    baseline = {"test/accuracy": 0.8, "test/macro_f1": 0.7525, "seconds": 12.4}
    for accuracy, better in ((0.81, False), (0.785, False), (0.775, True)):
        run = RunResult(name="a", model="gru", status="ok", metrics={"test/accuracy": accuracy}, baseline=baseline)
        run.data_summary = {"splits": {"test": {"documents": 400}}}
        line = "linear baseline: test acc 80.00 %, macro F1 75.25 %, 0:12"
        assert line + ("; the linear model is better here" if better else "") in printed(run).splitlines()


def test_on_a_narrow_terminal_a_run_is_a_column() -> None:
    lines = printed(RunResult(name="a", model="gru", status="ok", parameters={"total": 12}), width=60).splitlines()
    assert lines[0].split() == ["model", "│", "gru"]
    assert lines[2].split() == ["parameters", "│", "12"]


def test_the_table_of_the_same_data_is_printed_once() -> None:
    figures = {"documents": 1, "tokens": 2, "mean_length": 2.0, "lengths": dict.fromkeys(QUANTILES, 2), "empty": 0}
    split = figures | {"unknown_share": 0.0, "cut_share": 0.0, "in_train": None, "classes": {"x": 1}}
    summary = {"name": "a [table]", "classes": 2, "vocabulary": 5, "tokenizer": "words", "types_in_train": 3}
    summary |= {"notes": {}, "splits": {"train": split}}
    out = io.StringIO()
    for given in (summary, dict(summary), summary | {"vocabulary": 6}):
        print_data(given, Console(file=out, width=80))
    assert out.getvalue().count("documents") == 2
    assert "a [table]: the same data as above" in out.getvalue()
