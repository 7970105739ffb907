"""What a command says, and its exit status."""

import logging

import pytest

from unrolled.cli.terminal import TerminalLines, run_script
from unrolled.errors import UserError


def test_a_log_line_is_the_sentence_alone() -> None:
    def shown(level: int) -> str:
        return TerminalLines().format(logging.LogRecord("a.b", level, __file__, 1, "%d texts", (3,), None))

    assert (shown(logging.INFO), shown(logging.WARNING)) == ("3 texts", "warning: 3 texts")


def test_a_script_ends_with_status_2_and_the_message(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def main(arguments: object) -> None:
        raise UserError(f"no such run: {arguments}")

    monkeypatch.setattr("sys.argv", ["evaluate.py", "run=x"])
    with pytest.raises(SystemExit) as ended:
        run_script(main)
    assert ended.value.code == 2
    assert capsys.readouterr().err == "error: no such run: ['run=x']\n"
