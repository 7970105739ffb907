"""The study of text treatments: what each does to a text, and that a gain which is there is found."""

from pathlib import Path

import pytest
from tests.experiments.script import load

study = load("text_treatment")
TEXT = "Don't pay 3.50: see http://a.org/x 8) NOT Bad, Ann"


@pytest.mark.parametrize(
    ("treatment", "tokens"),
    [
        ("digits 0", "don ' t pay 0 . 00 : see http : / / a . org / x 0 ) not bad , ann"),
        ("numbers one", "don ' t pay number_ : see http : / / a . org / x number_ ) not bad , ann"),
        ("URLs one", "don ' t pay 3 . 50 : see url_ 8 ) not bad , ann"),
        ("emoticons", "don ' t pay 3 . 50 : see http : / / a . org / x 8) not bad , ann"),
        ("don't whole", "don_t pay 3 . 50 : see http : / / a . org / x 8 ) not bad , ann"),
        ("do n't", "do n_t pay 3 . 50 : see http : / / a . org / x 8 ) not bad , ann"),
        ("not_word", "do nt not_pay not_3 . 50 : see http : / / a . org / x 8 ) not not_bad , ann"),
        ("capitals", "Don ' t pay 3 . 50 : see http : / / a . org / x 8 ) NOT Bad , Ann"),
    ],
)
def test_a_treatment_changes_what_it_is_named_for(treatment: str, tokens: str) -> None:
    assert study.TREATMENTS[treatment](TEXT) == tokens.split()


def test_a_gain_that_is_there_is_found(tmp_path: Path) -> None:
    """The class is whether there is a number, and no word of a text but "price" occurs in another."""
    file = tmp_path / "prices.csv"
    file.write_text("text,label\n" + "".join(f"price {1000 + i if i % 2 else f'x{i}'},{i % 2}\n" for i in range(100)))
    rows = {row.treatment: row for row in study.measure(str(file))}
    assert rows["numbers one"].accuracy == 1
    assert rows["wordpunct"].accuracy < 0.7
    assert rows["numbers one"].gain == pytest.approx(1 - rows["wordpunct"].accuracy)
    assert 0.4 < rows["numbers one"].changed < 0.6
    assert rows["URLs one"].changed == rows["URLs one"].gain == 0
    (line, mean) = study.table(list(rows.values())).lines
    assert line[:2] == ["prices", "80"]
    assert f"{100 * rows['numbers one'].gain:+.2f}" in mean
