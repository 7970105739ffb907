import json
import subprocess
import sys
from pathlib import Path

import pytest

from unrolled.compare.command import main
from unrolled.errors import UserError

ROOT = Path(__file__).parents[2]


def test_every_output_is_written(record, tmp_path, capsys) -> None:
    record("lstm", 0, 0.8, curve={1: 0.5}, right=[True, False])
    record("gru", 0, 0.7, curve={1: 0.5}, right=[False, False])
    places = [str(tmp_path / name) for name in ("plots", "compare.html", "bands")]
    main(
        [
            str(tmp_path / "runs"),
            "--format",
            "json",
            "--plot",
            places[0],
            "--html",
            places[1],
            "--tensorboard",
            places[2],
        ]
    )
    out = capsys.readouterr()
    assert len(json.loads(out.out)["configurations"]) == 2, "standard output is the table alone"
    assert (tmp_path / "plots" / "accuracy_parameters.svg").is_file()
    assert "<svg" in (tmp_path / "compare.html").read_text()
    assert "wrote" in out.err


def test_two_runs_are_told_apart(record, tmp_path, capsys) -> None:
    first, second = record("lstm", 0, right=[True, False]), record("gru", 0, right=[False, False])
    main(["--diff", str(first.directory), str(tmp_path / "runs" / "latest")])
    out = capsys.readouterr().out
    assert second.model in out
    assert "McNemar" in out


@pytest.mark.parametrize("form", ["table", "md", "csv", "json", "html"])
def test_every_format_names_both_models(record, tmp_path, capsys, form) -> None:
    record("lstm")
    record("gru")
    main([str(tmp_path / "runs"), "--format", form])
    out = capsys.readouterr().out
    assert "lstm" in out
    assert "gru" in out


def test_mistakes_are_user_errors(record, tmp_path) -> None:
    with pytest.raises(UserError, match="no run found"):
        main([str(tmp_path)])
    record("lstm")
    for option, key in (("--sort", "accuracy"), ("--filter", "modell=1"), ("--group", "modle")):
        with pytest.raises(
            UserError, match=f"{option} {key.split('=')[0]}: no run has this key; did you mean "
        ) as error:
            main([str(tmp_path), option, key])
        assert len(str(error.value).split("mean")[1].split(",")) <= 5, "the nearest few"
    assert "model" in str(error.value)
    with pytest.raises(UserError, match="is not a run"):
        main(["--diff", str(tmp_path), str(tmp_path)])


def test_help_answers_before_anything_slow_is_imported() -> None:
    slow = "torch pytorch_lightning hydra pandas matplotlib tensorboard sklearn scipy"
    program = f"""import runpy, sys
sys.argv = ["compare.py", "--help"]
try:
    runpy.run_path("compare.py", run_name="__main__")
finally:
    print("imported:", [name for name in "{slow}".split() if name in sys.modules])"""
    answer = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    assert "--tensorboard DIR" in answer.stdout
    assert answer.stdout.endswith("imported: []\n")


def test_the_script_ends_with_one_message_and_status_2(tmp_path) -> None:
    command = [sys.executable, "compare.py", str(tmp_path)]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert answer.returncode == 2
    assert answer.stdout == ""
    assert answer.stderr.startswith("error: no run found under")
    assert answer.stderr.count("\n") == 1
