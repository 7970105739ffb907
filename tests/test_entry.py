"""What Hydra says of a mistake, in one line."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException

from unrolled.entry import in_short, launch

CONF = Path(__file__).parents[1] / "conf"


@pytest.fixture(autouse=True)
def _hydra() -> Iterator[None]:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("model=gruu", ["model/gruu", "lstmp, memoryless", "gru, gru_layer_norm"]),
        ("tbptt.chunklen=32", ["tbptt.chunklen", "32"]),
    ],
)
def test_it_names_the_key_the_value_and_the_choices_without_internals(override: str, said: list[str]) -> None:
    with pytest.raises(HydraException) as error:
        compose("config", ["name=test", override])
    short = in_short(error.value)
    assert "\n" not in short
    for part in said:
        assert part in short
    for internal in ("full_key", "object_type", "structured://"):
        assert internal not in short


def test_a_search_whose_every_trial_fails_ends_with_one_message(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["train.py"])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")  # and back afterwards: launch sets it
    optuna = pytest.importorskip("optuna")

    with pytest.raises(SystemExit) as ended:
        launch(lambda: optuna.create_study().best_trial)
    assert ended.value.code == 2
    assert "every trial of the search failed" in capsys.readouterr().err


def test_an_error_of_ours_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["train.py"])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")  # and back afterwards: launch sets it

    def broken() -> None:
        raise ValueError("a mistake of ours")

    with pytest.raises(ValueError, match="a mistake of ours"):
        launch(broken)
