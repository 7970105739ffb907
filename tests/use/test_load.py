import json
import shutil
import subprocess
import sys

import pytest
import torch

import unrolled
from unrolled.errors import UserError
from unrolled.use.load import load_run


@pytest.fixture
def copied(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "run")


def change(run, **fields) -> None:
    content = json.loads((run / "results.json").read_text())
    (run / "results.json").write_text(json.dumps(content | fields))


def test_a_run_can_be_moved(copied) -> None:
    assert load_run(copied).checkpoint == copied / "checkpoints" / "best.ckpt"
    assert load_run(copied, "last").checkpoint.name == "last.ckpt"


def test_a_loaded_model_says_what_it_is_in_one_line(trained) -> None:
    said = repr(unrolled.load(trained))
    assert said == f"<TextClassifier: lstmp of {trained}; 8 classes: acq, crude, earn, grain, interest, ...>"


def test_an_unfinished_run_is_used_only_when_asked(copied) -> None:
    change(copied, status="interrupted", error="stopped by SIGINT")
    with pytest.raises(UserError, match=r"not a finished run: interrupted \(stopped by SIGINT\).*checkpoint=best or"):
        load_run(copied)
    assert load_run(copied, "best").model.predict(["oil"]).shape == (1,)


def test_weights_of_another_shape_say_so(copied) -> None:
    path = copied / "checkpoints" / "best.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["state_dict"]["head.bias"] = torch.zeros(99)
    torch.save(checkpoint, path)
    with pytest.raises(UserError, match=r"best\.ckpt has the weights of another model .*head\.bias.*train again"):
        load_run(copied)
    path.write_bytes(b"no checkpoint")
    with pytest.raises(UserError, match=r"is not a checkpoint that can be read; .* train again"):
        load_run(copied)
    with pytest.raises(UserError, match=r"is not a checkpoint that can be read; give checkpoint=best"):
        load_run(copied, checkpoint=str(path))
    path.unlink()
    with pytest.raises(UserError, match="does not exist"):
        load_run(copied)


def test_a_file_that_is_damaged_or_missing_says_so(copied) -> None:
    for name in ("tokenizer.json", "vocabulary.txt"):
        (copied / name).write_text("[")
        with pytest.raises(UserError, match=rf"{name} cannot be read .*the run is not complete"):
            load_run(copied)
        (copied / name).unlink()
        with pytest.raises(UserError, match=rf"{name} cannot be read .*No such file.*the run is not complete"):
            load_run(copied)


def test_a_configuration_of_another_version_says_so(copied) -> None:
    content = json.loads((copied / "results.json").read_text())
    content["config"]["tbptt"]["unheard_of"] = 1
    change(copied, config=content["config"])
    with pytest.raises(UserError, match=r"was written by another version .*unheard_of"):
        load_run(copied)


@pytest.mark.parametrize(
    ("statement", "unneeded"),
    [
        ("import unrolled.train.results", ("torch",)),
        (
            "import unrolled; unrolled.load(sys.argv[1]).predict(['wheat exports'])",
            ("pytorch_lightning", "torchmetrics", "tensorboard", "matplotlib", "pandas", "sklearn"),
        ),
    ],
    ids=["results", "prediction"],
)
def test_what_is_not_needed_is_not_imported(trained, statement, unneeded) -> None:
    code = f"import sys; {statement}; print([name for name in {unneeded} if name in sys.modules])"
    command = [sys.executable, "-c", code, str(trained)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.stdout == "[]\n", done.stdout + done.stderr


@pytest.mark.parametrize(
    ("device", "said"),
    [("gpu", "device=gpu: choose cpu or cuda"), ("mps:0", "device=mps:0: choose"), ("cuda", "there is no GPU here")],
)
def test_a_device_that_is_not_there_is_one_sentence(trained, device: str, said: str) -> None:
    if device == "cuda" and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(UserError, match=said):
        load_run(trained, device=device)
