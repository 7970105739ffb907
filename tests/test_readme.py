"""The README is a promise: every command in it is run here, small, and every example does what it says."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import QUICK, ROOT
from tests.train.fresh_process import forked
from unrolled.cli.conf import choices, default_choices
from unrolled.data.readers.columns import LABEL_NAMES, TEXT_NAMES

README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, re.M | re.S)
COMMANDS = [
    line.strip()
    for kind, text in BLOCKS
    if kind == "bash"
    for line in text.splitlines()
    if line.strip() and line[0] != "#"
]
INLINE = re.findall(r"`((?:python|make) [^`<]+)`", README)
SMALL = (
    "data.limit=60",
    "trainer.max_epochs=1",
    *(q for q in QUICK if not q.startswith(("data", "model", "tbptt", "trainer"))),
)


def targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.M))


def test_the_readme_shows_commands() -> None:
    assert "make train" in COMMANDS
    assert "make test" in COMMANDS
    assert sum(command.startswith("python train.py") for command in COMMANDS) >= 3


@pytest.mark.parametrize("command", sorted({c for c in [*COMMANDS, *INLINE] if c.startswith("make ")}))
def test_every_make_target_that_the_readme_names_exists(command: str) -> None:
    assert shlex.split(command)[1] in targets()


def test_the_table_of_groups_has_every_group_its_default_first_and_every_choice() -> None:
    table = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", README, re.M))
    defaults = default_choices(ROOT / "conf")
    assert set(defaults) <= set(table)
    for group, default in defaults.items():
        named = re.findall(r"`(\w+)`", table[group])
        assert set(choices(ROOT / "conf", group)) <= set(named), group
        assert default is None or named[0] == default


def test_make_lists_every_target_with_one_line() -> None:
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for target in targets():
        assert re.search(rf"^  make {target} +\S", shown, re.M)


def test_make_train_sets_up_and_trains(tmp_path: Path) -> None:
    """In this very environment: what `make setup` would do has been done when its mark is newer than the lock."""
    environment = tmp_path / "venv"
    (environment / "bin").mkdir(parents=True)
    for name in ("python", "pytest"):
        (environment / "bin" / name).symlink_to(sys.executable)
    (environment / ".ready").touch()
    arguments = " ".join(["data=book_excerpts", *SMALL, f"output_dir={tmp_path / 'runs'}"])
    done = subprocess.run(
        ["make", "train", f"VENV={environment}", f"ARGS={arguments}"],
        cwd=ROOT,
        env={k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "VENV")}
        | {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), *filter(None, sys.path)])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "tensorboard --logdir" in done.stdout


def test_make_tensorboard_says_where_there_are_no_curves(tmp_path: Path) -> None:
    """With a program in place of TensorBoard, which would never end."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "tensorboard").symlink_to("/bin/echo")
    (tmp_path / ".ready").touch()
    command = ["make", "tensorboard", f"VENV={tmp_path}", f"LOGDIR={tmp_path / 'runs'}"]

    def shown() -> str:
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout

    assert f"There are no curves in {tmp_path / 'runs'} yet: train in another terminal" in shown()
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "events.out.tfevents.1").touch()
    assert "There are no curves" not in shown()


@pytest.mark.parametrize("command", sorted({c for c in COMMANDS if c.startswith("python ")}))
def test_every_python_command_runs(command: str, tmp_path: Path, trained: Path) -> None:
    script, *arguments = shlex.split(command)[1:]
    if script == "train.py" and "--help" not in arguments and not any(a.startswith("resume=") for a in arguments):
        if not any(a.startswith("data=") for a in arguments):
            arguments.append("data=book_excerpts")
        arguments += [*SMALL, f"output_dir={tmp_path}"]
    rows = [f"{'good' if i % 2 else 'bad'},text number {i} is {'fine' if i % 2 else 'poor'}" for i in range(90)]
    (tmp_path / "reviews.csv").write_text("label,text\n" + "\n".join(rows) + "\n")
    runs = trained.parent.parent
    for here, there in (("runs", runs), ("runs/latest", runs / "latest")):
        arguments = [re.sub(rf"(^|=){here}$", rf"\g<1>{there}", a) for a in arguments]
    arguments = [re.sub(r"\b(reviews|classified)\.csv$", rf"{tmp_path}/\1.csv", a) for a in arguments]
    done = forked(script, *arguments)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_the_examples_of_ones_own_train_together(tmp_path: Path) -> None:
    """The classes go into one module, the yamls where their first line says; one run uses all of them."""
    classes = [text for kind, text in BLOCKS if kind == "python" and text.startswith("# mine.py")]
    yamls = [text for kind, text in BLOCKS if kind == "yaml"]
    (tmp_path / "mine.py").write_text("\n".join(classes))
    for text in yamls:
        file = tmp_path / text.splitlines()[0].removeprefix("# ")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    command = next(line for line in re.findall(r"`PYTHONPATH=. (python train.py --config-dir[^`]*)`", README))
    assert len(yamls) == len(shlex.split(command)) - 4, "every yaml is chosen"
    arguments = shlex.split(command)[2:]
    arguments[1] = str(tmp_path / "my_conf")
    path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    small = [s for s in SMALL if not s.startswith(("data", "optimizer", "pooling"))]
    done = subprocess.run(
        [sys.executable, "train.py", *arguments, *small, "optimizer.lr=0.001", f"output_dir={tmp_path / 'runs'}"],
        cwd=ROOT,
        env={
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": path,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "my_mgu" in done.stdout
    assert "trained for" in done.stdout


@pytest.mark.parametrize("code", [text for kind, text in BLOCKS if kind == "python" and "import unrolled" in text])
def test_every_python_example_runs(code: str, trained: Path) -> None:
    runs = trained.parent.parent
    exec(compile(code.replace("runs/latest", str(runs / "latest")), "README.md", "exec"), {})  # noqa: S102


def test_relative_links_lead_to_files() -> None:
    pages = [ROOT / "README.md", *ROOT.glob("experiments/*/README.md")]
    links = [
        page.parent / link for page in pages for link in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", page.read_text())
    ]
    assert len(links) > 10
    assert not [link for link in links if not link.exists()]


def test_the_usual_names_of_columns_are_those_that_are_found() -> None:
    section = README[README.index("Columns with a usual name are found") : README.index("; for the class `label`")]
    assert tuple(re.findall(r"`(\w+)`", section)) == TEXT_NAMES
    section = README[README.index("; for the class `label`") : README.index("The first name of a list")]
    assert tuple(re.findall(r"`(\w+)`", section)) == LABEL_NAMES
