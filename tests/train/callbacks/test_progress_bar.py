import io
import re

from rich.console import Console

from unrolled.train.callbacks.progress_bar import ProgressBar


def test_without_a_terminal_there_are_plain_lines(tiny, batches, make_trainer) -> None:
    out = io.StringIO()
    bar = ProgressBar(line_seconds=0.0, console=Console(file=out, width=200))
    trainer = make_trainer([bar], max_epochs=2)
    trainer.fit(tiny, batches(3), batches(1))
    trainer.test(tiny, batches(1), verbose=False)
    lines = out.getvalue().splitlines()
    assert lines[0] == "training on cpu, 6 steps at most"
    assert "\x1b" not in out.getvalue()
    pattern = r"epoch 2/2  step 5  loss \d\.\d{3}  val accuracy \d\.\d{3}  \d+\.\dk tokens/s  0:00 left"
    assert any(re.fullmatch(pattern, line) for line in lines), lines
    assert lines[-1] == "testing"


def test_without_a_terminal_lines_are_sparse(tiny, batches, make_trainer) -> None:
    out = io.StringIO()
    bar = ProgressBar(line_seconds=3600.0, console=Console(file=out, width=200))
    make_trainer([bar], max_epochs=1).fit(tiny, batches(20), batches(1))
    assert len(out.getvalue().splitlines()) == 2  # the start and the validation


def test_on_a_terminal_there_is_a_bar(tiny, batches, make_trainer) -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=160)
    trainer = make_trainer([ProgressBar(refresh_seconds=0.0, console=console)], max_epochs=1)
    trainer.fit(tiny, batches(3), batches(1))
    trainer.test(tiny, batches(1), verbose=False)
    assert "━" in out.getvalue()
    assert "loss" in out.getvalue()
    assert "3/3" in out.getvalue()
