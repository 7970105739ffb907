import io
import re
from types import SimpleNamespace

from unrolled.tbptt.schedule import DocumentsSchedule
from unrolled.train.callbacks import progress_bar
from unrolled.train.callbacks.progress_bar import ProgressBar


def test_without_a_terminal_there_are_plain_lines(tiny, batches, make_trainer) -> None:
    out = io.StringIO()
    bar = ProgressBar(line_seconds=0.0, file=out, width=200)
    trainer = make_trainer([bar], max_epochs=2)
    trainer.fit(tiny, batches(3), batches(1))
    trainer.test(tiny, batches(1), verbose=False)
    lines = out.getvalue().splitlines()
    assert lines[0] == "training on cpu, 6 batches at most"
    assert "\x1b" not in out.getvalue()
    pattern = r"epoch 2/2  step 5  loss \d\.\d{3}  val acc \d\.\d{3}  tokens/s \d+\.\dk  left 0:00"
    assert any(re.fullmatch(pattern, line) for line in lines), lines
    assert lines[-1] == "testing"


def test_without_a_terminal_lines_are_sparse(tiny, batches, make_trainer) -> None:
    out = io.StringIO()
    bar = ProgressBar(line_seconds=3600.0, file=out, width=200)
    make_trainer([bar], max_epochs=1).fit(tiny, batches(20), batches(1))
    assert len(out.getvalue().splitlines()) == 2  # the start and the validation


def test_after_the_first_seconds_the_longest_time_is_foretold(
    tiny, batches, make_trainer, make_corpus, monkeypatch, caplog
) -> None:
    """Batches of 11 tokens take 2 s; an epoch of 100 tokens has five; 30 of validation are read three times as fast."""
    seen = []
    monkeypatch.setattr(tiny, "on_train_batch_start", lambda *_: seen.append(2.0))
    monkeypatch.setattr(progress_bar, "time", SimpleNamespace(perf_counter=lambda: sum(seen)))
    train, valid = batches(5), batches(1)
    train.schedule = DocumentsSchedule(make_corpus([20] * 5), 1, 4)
    valid.schedule = DocumentsSchedule(make_corpus([10] * 3), 1, 4)
    with caplog.at_level("INFO"):
        make_trainer([ProgressBar(first_seconds=2.0, file=io.StringIO())], max_epochs=60).fit(tiny, train, valid)
        make_trainer([ProgressBar(first_seconds=8.0, file=io.StringIO())], max_epochs=1).fit(tiny, train, valid)
    minutes = (60 - 2 / 5) * (100 + 30 / 3) * 2 / 11 / 60  # two batches are done by then
    assert f"at most about {minutes:.2g} min (59.6 epochs to go)" in caplog.text
    assert caplog.text.count("at most about") == 1, "after the last batch nothing is left to foretell"


def test_the_rate_is_that_of_training_alone(tiny, batches, make_trainer, monkeypatch) -> None:
    """Batches of 11 tokens take 1/4000 s; a second passes between the last one and validation, as a disk may need."""
    now = [0.0]
    monkeypatch.setattr(progress_bar, "time", SimpleNamespace(perf_counter=lambda: now[0]))

    def take(seconds: float) -> None:
        now[0] += seconds

    tiny.on_train_batch_start = lambda batch, batch_idx: take(1 / 4000)
    tiny.on_train_batch_end = lambda outputs, batch, batch_idx: take(float(batch_idx == 9))
    out = io.StringIO()
    bar = ProgressBar(refresh_seconds=0.001, line_seconds=0.001, file=out, width=200)
    make_trainer([bar]).fit(tiny, batches(10), batches(1))
    assert set(re.findall(r"tokens/s (\S+)", out.getvalue())) == {"44.0k"}


def test_the_rate_of_short_epochs_is_measured_over_several(tiny, batches, make_trainer, monkeypatch) -> None:
    """Epochs of three batches in 3/4000 s, later in 3/1000 s, at a look every 4/1000 s; validation takes a second."""
    now = [0.0]
    monkeypatch.setattr(progress_bar, "time", SimpleNamespace(perf_counter=lambda: now[0]))

    def take(seconds: float) -> None:
        now[0] += seconds

    tiny.on_train_batch_start = lambda batch, batch_idx: take(1 / 4000 if tiny.current_epoch < 10 else 1 / 1000)
    tiny.on_validation_start = lambda: take(1.0)
    out = io.StringIO()
    bar = ProgressBar(refresh_seconds=0.004, line_seconds=0.004, file=out, width=200)
    make_trainer([bar], max_epochs=20).fit(tiny, batches(3), batches(1))
    rates = re.findall(r"tokens/s (\S+)", out.getvalue())
    assert (rates[0], rates[-1]) == ("44.0k", "11.0k")


def test_on_a_terminal_there_is_a_bar(tiny, batches, make_trainer) -> None:
    out = io.StringIO()
    bar = ProgressBar(refresh_seconds=0.0, file=out, force_terminal=True, width=160)
    trainer = make_trainer([bar], max_epochs=2)
    trainer.fit(tiny, batches(3), batches(1))
    trainer.test(tiny, batches(1), verbose=False)
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", out.getvalue())
    numbers = r"loss: \d\.\d{3} val acc: \d\.\d{3} tokens/s: \d+\.\dk left: \d:\d\d"
    for epoch in (1, 2):
        assert re.search(rf"epoch {epoch}/2 +━+ 3/3 {numbers}", shown), shown
    assert re.search(r"Testing +━+ 1/1", shown)
    assert "training on cpu" not in shown, "lines are for files"


def test_on_a_narrow_terminal_the_bar_is_one_line_and_sanity_checks_are_no_validation(
    tiny, batches, make_trainer
) -> None:
    out = io.StringIO()
    bar = ProgressBar(refresh_seconds=0.0, file=out, force_terminal=True, width=80)
    trainer = make_trainer([bar], num_sanity_val_steps=1)
    trainer.fit(tiny, batches(12), batches(1))
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", out.getvalue())
    lines = [line.rstrip() for line in re.split(r"[\r\n]", shown)]
    numbers = r"loss: \d\.\d{3} val acc: \d\.\d{3} tokens/s: \d+\.\dk left: 0:00"
    assert any(re.fullmatch(rf"epoch 2/2 +12/12 {numbers}", line) for line in lines), lines
    assert not any(line.startswith((" ", "tokens/s")) for line in lines), f"a line is wrapped: {lines}"
    first = shown.index("val acc")
    assert "12/12" in shown[:first], "what the sanity check found is not shown"


def test_numbers_are_read_seldom(tiny, batches, make_trainer, monkeypatch) -> None:
    """Each look waits for the device."""
    looks = []
    total = ProgressBar._total
    monkeypatch.setattr(ProgressBar, "_total", lambda bar, trainer: looks.append(1) or total(bar, trainer))
    bar = ProgressBar(refresh_seconds=3600.0, file=io.StringIO(), force_terminal=True, width=160)
    make_trainer([bar], max_epochs=2).fit(tiny, batches(20), batches(1))
    assert len(looks) <= 1 + 1 + 2, "at the start, after the first of 40 batches, at two validations"
