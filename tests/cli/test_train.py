"""train.py: mistakes in one sentence, exit status 2."""

import logging
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from tests.conftest import ROOT, program

from unrolled.cli import train
from unrolled.cli.command_line import quote_names
from unrolled.cli.conf import PROJECT_VARIABLE, register_resolver

CONF = ROOT / "conf"


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """A command here logs to streams that are closed once its test has ended."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def run_here(
    arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> tuple[int | str | None, str]:
    """`python train.py` with ``arguments`` in this process: exit status and standard error."""
    monkeypatch.setattr("sys.argv", ["train.py", *arguments])
    for name in ("HYDRA_FULL_ERROR", PROJECT_VARIABLE):
        monkeypatch.setenv(name, "0" if name == "HYDRA_FULL_ERROR" else str(ROOT))  # and back: the command sets them
    with pytest.raises(SystemExit) as ended:
        train.train_command(CONF)
    return ended.value.code, capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["lr=0.1"], "lr: there is no such key; did you mean optimizer.lr?"),
        (["epochs=3"], "epochs: there is no such key; did you mean trainer.max_epochs?"),
        (["batch_size=3"], "batch_size: there is no such key; did you mean tbptt.batch_size?"),
        (["hidden_size=3"], "hidden_size: there is no such key; did you mean model.hidden_size?"),
        (["readout=mean"], "readout: there is no such key; did you mean pooling=mean?"),
        (["readout=median"], "readout: there is no such key; did you mean pooling?"),
        (["data=csv", "data.val=x"], "data.val: there is no such key; did you mean data.valid?"),
        (["-m", "seed=0,1", "sead=3"], "sead: there is no such key; did you mean seed?"),
        (["trainer.max_epoch=3"], "trainer.max_epoch: there is no such key; did you mean trainer.max_epochs?"),
        (["tbptt.chunklen=32"], "tbptt.chunklen: there is no such key; did you mean tbptt.chunk_len?"),
        (["~data.fodl"], "data.fodl: there is no such key; did you mean data.fold?"),
        (
            ["data.train=my.csv"],
            "data.train: there is no such key with data=newsgroups; there is with data=csv",
        ),
        (["callbacks.mine=3"], "callbacks.mine: there is no such key"),
        (["model=gruu"], "model=gruu: there is no such choice; did you mean model=gru? There are gru, gru_layer_norm"),
        (["model=[gru,3]"], "model=[gru,3]: a run takes one choice; model=gru,3 with -m is a sweep over them"),
        (["trainer.accumulate_grad_batches=0"], "trainer.accumulate_grad_batches=0: must be at least 1"),
        (["trainer.val_check_interval=1.5"], "trainer.val_check_interval=1.5: must be a number of batches, or a share"),
        (["trainer.limit_train_batches=0"], "trainer.limit_train_batches=0: must be a number of batches, or a share"),
        (["trainer.max_epochs=-1"], "trainer.max_epochs=-1: a schedule of the learning rate needs to know the end"),
        (["data=3"], "data=3: there is no such choice; there are book_excerpts"),
        (["-m", "+experiment=1e3,True"], "experiment=1e3: there is no such choice; there are chunk_length"),
        (["modle=gru"], "modle: there is no such key; did you mean model=gru?"),
        (["model=null"], "model=null: a run needs one; choose one of gru"),
        (["+optimizer.lr=3"], "+optimizer.lr: there is such a key already; write optimizer.lr=... without +"),
        (["name=run (1)"], "name=run (1): cannot be read"),
        (["model=lstm,gru"], "model=lstm,gru: values separated by commas are a sweep: add -m; a single value with"),
        (["dry_run"], "dry_run: a setting is written KEY=VALUE, as in dry_run=true"),
        (["gru"], "gru: a setting is written KEY=VALUE, as in model=gru"),
        (["--dry-run"], "--dry-run: there is no such option; settings have no dashes before them, as in dry_run=true"),
        (["--model=gru"], "--model=gru: there is no such option; settings have no dashes before them, as in model=gru"),
        (
            ["--epochs", "3"],
            "--epochs: there is no such option; settings have no dashes before them, as in trainer.max",
        ),
        (["resume=runs/none"], "runs/none does not exist; name the directory of one run, such as"),
        (["output_dir=/proc/x"], "output_dir=/proc/x: no directory can be made in /proc ("),
        (["hydra.job.chdr=3"], "Could not override 'hydra.job.chdr'; Key 'chdr' not in 'JobConf'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_sentence_and_status_2(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    status, error = run_here(arguments, capsys, monkeypatch)
    assert status == 2
    assert error.startswith(f"error: {said}")
    assert error.count("\n") == 1
    for internal in ("append", "full_key", "object_type", "structured://", "Traceback"):
        assert internal not in error


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["model.hidden_size=-1"], "model.hidden_size=-1: must be at least 1"),
        (["optimizer.lr=-1"], "optimizer.lr=-1: must be more than 0"),
        (
            ["trainer.max_epochs=0"],
            "trainer.max_epochs=0: must be -1 (until trainer.max_steps ends the run), at least 1",
        ),
        (["tbptt.batch_size=0"], "tbptt.batch_size=0: must be at least 1"),
        (["trainer.max_epochs=abc"], "trainer.max_epochs=abc: must be a whole number"),
        (["callbacks.early_stopping.patience=1.5"], "callbacks.early_stopping.patience=1.5: must be a whole number"),
        (["model.cell=mine.Cell"], "model.cell=mine.Cell: there is no module mine; the folder of one of your own must"),
        (["pooling._target_=mine.Sum"], "pooling._target_=mine.Sum: there is no module mine; the folder of one of"),
        (["optimizer.weight_decay=no"], "optimizer.weight_decay=no: must be a number"),
        (["data=csv", "data.train=conf/config.yaml"], f"{CONF / 'config.yaml'}, line 1: no column looks like the text"),
        (["data=csv", "data.train=missing.csv"], "data.train=missing.csv does not exist"),
        (["text.vectors=missing.txt"], "text.vectors=missing.txt does not exist"),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else "",
)
def test_a_wrong_value_is_refused_before_torch_is_imported_and_leaves_no_directory(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "unrolled.train.run", None)  # importing it raises
    status, error = run_here([*arguments, f"output_dir={tmp_path}"], capsys, monkeypatch)
    assert status == 2
    assert error.startswith(f"error: {said}")
    assert not list(tmp_path.iterdir())


def test_ctrl_c_before_a_run_has_begun_is_one_line_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(config: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("unrolled.config.check_early", interrupted)
    monkeypatch.setattr("sys.argv", ["train.py", f"output_dir={tmp_path}"])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    monkeypatch.setenv(PROJECT_VARIABLE, str(ROOT))
    try:
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(ROOT / "train.py"), run_name="__main__")
    finally:
        logging.disable(logging.NOTSET)
    assert ended.value.code == 130
    assert capsys.readouterr().err == "interrupted before a run had begun: give the same command again\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("argument", ["sead=3", "model=lstm,gruu"])
def test_a_sweep_that_is_refused_leaves_no_directory(
    argument: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    status, error = run_here(["-m", "seed=0,1", argument, f"output_dir={tmp_path}"], capsys, monkeypatch)
    assert (status, error.count("\n")) == (2, 1)
    assert not list(tmp_path.iterdir())


def test_a_cache_in_a_home_that_is_not_there_is_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("UNROLLED_CACHE", "~no-such-user/cache")
    monkeypatch.setitem(sys.modules, "unrolled.train.run", None)  # importing it raises
    status, error = run_here([f"output_dir={tmp_path}"], capsys, monkeypatch)
    assert status == 2
    assert error.startswith("error: UNROLLED_CACHE=~no-such-user/cache: there is no such home directory")
    assert error.count("\n") == 1


def test_a_gpu_that_is_not_there_is_refused_before_lightning_is_imported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    monkeypatch.setitem(sys.modules, "unrolled.train.run", None)  # importing it raises
    arguments = ["trainer=gpu", "data=csv", "data.train=missing.csv", f"output_dir={tmp_path}"]
    status, error = run_here(arguments, capsys, monkeypatch)
    assert status == 2
    assert error == (
        "error: trainer.accelerator=gpu: there is no GPU here that torch can use; trainer=auto takes the device that "
        "there is\n"
    )
    assert not list(tmp_path.iterdir())


def test_a_plus_key_that_nothing_reads_is_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    done = program("train.py", "data=csv", "data.train=missing.csv", "+data.val=x", f"output_dir={tmp_path}")
    assert done.returncode == 2
    assert done.stderr == "error: data.val: there is no such key; did you mean data.valid?\n"


@pytest.mark.parametrize(
    ("arguments", "heavy"),
    [
        (["--help"], ("hydra", "omegaconf", "torch", "pytorch_lightning", "pandas", "matplotlib")),
        (["model=gru", "-h"], ("hydra", "omegaconf", "torch")),
        (["lr=3"], ("torch", "pytorch_lightning", "pandas", "matplotlib", "numpy", "tensorboard", "sklearn")),
        (["optimizer.lr=-1"], ("torch", "pytorch_lightning", "pandas", "matplotlib", "tensorboard", "sklearn")),
        (["model=gruu"], ("torch", "pytorch_lightning", "pandas", "matplotlib", "numpy", "tensorboard", "sklearn")),
    ],
)
def test_help_and_mistakes_are_answered_without_what_training_imports(
    arguments: list[str], heavy: tuple[str, ...]
) -> None:
    code = (
        "import runpy, sys\n"
        f"sys.argv = ['train.py', *{arguments!r}]\n"
        "try:\n    runpy.run_path('train.py', run_name='__main__')\n"
        "except SystemExit:\n    pass\n"
        f"print('imported:', *(name for name in {heavy!r} if name in sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "imported:"


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ([], "newsgroups_lstmp_handwritten_s0"),
        (["data=recall"], "recall_lstmp_handwritten_s0"),
        (["data=csv"], "csv_lstmp_handwritten_s0"),  # refused later, with a message
        (
            ["data=csv", "data.train=/a/it's {my}=[reviews] (1),$x\\ é.v2.csv"],
            "it_s_my_reviews_1_x_é_lstmp_handwritten_s0",
        ),
        (["data=huggingface", "data.path=stanfordnlp/imdb"], "imdb_lstmp_handwritten_s0"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_runs_name_holds_the_name_of_the_file(arguments: list[str], name: str) -> None:
    register_resolver()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", quote_names(arguments), return_hydra_config=True)
    HydraConfig.instance().set_config(config)
    assert config.name == name


def test_a_search_whose_every_trial_fails_ends_with_one_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    optuna = pytest.importorskip("optuna")

    def main(config: object) -> None:
        assert optuna.create_study().best_trial

    monkeypatch.setattr(train, "run_task", main)
    status, error = run_here([f"hydra.run.dir={tmp_path}"], capsys, monkeypatch)
    assert status == 2
    assert "every trial of the search failed" in error


def test_an_error_of_ours_keeps_its_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(config: object) -> None:
        raise ValueError("a mistake of ours")

    monkeypatch.setattr(train, "run_task", broken)
    with pytest.raises(ValueError, match="a mistake of ours"):
        run_here([f"hydra.run.dir={tmp_path}"], capsys, monkeypatch)


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("model=lstm.yaml", "did you mean model=lstm?"),
        ("output_dir=README.md/runs", "no directory can be made in"),
    ],
)
def test_a_choice_with_an_ending_and_a_directory_in_a_file_are_refused(argument: str, said: str) -> None:
    done = program("train.py", argument)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert said in done.stderr
    assert "Traceback" not in done.stderr
