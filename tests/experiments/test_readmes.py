"""Every study's README shows what its raw numbers say."""

import json

import pytest
from tests.experiments.script import STUDIES, load

ROWS = {
    "ablation": "Row",
    "against_earlier": "Row",
    "chunk_length": "Row",
    "layer_bound": "Row",
    "leaderboard": "Row",
    "memory": "Measured",
    "memory_probe": "Row",
    "parity": "Row",
    "peers": "Row",
    "schedules": "Row",
    "text_treatment": "Row",
    "truncation_bias": "Row",
}


def test_every_study_that_is_a_script_is_listed() -> None:
    assert {path.parent.name for path in STUDIES.glob("*/run.py")} == set(ROWS)


@pytest.mark.parametrize("study", ROWS)
def test_the_table_in_the_readme_is_that_of_the_raw_numbers(study: str) -> None:
    module = load(study)
    raw = json.loads((STUDIES / study / "results.json").read_text(encoding="utf-8"))
    rows = [getattr(module, ROWS[study])(**row) for row in raw["rows"]]
    readme = (STUDIES / study / "README.md").read_text(encoding="utf-8")
    assert module.table(rows).markdown() in readme
    assert f"python experiments/{study}/run.py" in readme.split("<!-- table -->")[0], "the command that made it"
    for picture in (STUDIES / study).glob("*.png"):
        assert f"({picture.name})" in readme
