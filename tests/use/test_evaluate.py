import csv
import json

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import (
    multiclass_calibration_error,
    multiclass_f1_score,
    multiclass_precision,
    multiclass_recall,
)

from unrolled.data.sources.source import Notes
from unrolled.errors import UserError
from unrolled.train.predictions import load_predictions
from unrolled.train.results import load_result
from unrolled.use.evaluate import Evaluation, file_documents, main
from unrolled.use.load import load_run

NAMES = ["ham", "spam", "eggs", "never"]


@pytest.fixture
def evaluation() -> Evaluation:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(50, 4)) * [3, 3, 3, 0] - [0, 0, 0, 9]  # the last class is neither there nor predicted
    proba = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = np.where(rng.random(50) < 0.6, proba.argmax(axis=1), rng.integers(0, 3, 50))
    return Evaluation(NAMES, labels, proba.astype(np.float32))


def test_figures_agree_with_torchmetrics(evaluation) -> None:
    given = torch.tensor(evaluation.proba), torch.tensor(evaluation.labels)
    rows = evaluation.per_class()
    for key, metric in (
        ("precision", multiclass_precision),
        ("recall", multiclass_recall),
        ("f1", multiclass_f1_score),
    ):
        expected = metric(*given, num_classes=4, average=None)
        np.testing.assert_allclose([row[key] for row in rows], expected, atol=1e-6)
    assert evaluation.macro_f1 == pytest.approx(float(multiclass_f1_score(*given, num_classes=4, average="macro")))
    expected = float(multiclass_calibration_error(*given, num_classes=4, n_bins=15))
    assert evaluation.calibration_error == pytest.approx(expected, abs=1e-6)


def test_errors_come_worst_first(evaluation) -> None:
    errors = evaluation.confident_errors(50)
    assert len(errors) == (evaluation.predicted != evaluation.labels).sum()
    confidence = evaluation.confidence[errors]
    assert (np.diff(confidence) <= 0).all()


def test_a_run_evaluated_gives_the_accuracy_that_training_reported(trained, capsys) -> None:
    before = set((trained / "evaluations").glob("*_test"))  # other tests evaluate this run, too
    main([f"run={trained}", "errors=3"])
    (directory,) = set((trained / "evaluations").glob("*_test")) - before
    figures = json.loads((directory / "evaluation.json").read_text())
    result = load_result(trained)
    assert figures["accuracy"] == pytest.approx(result.metrics["test/accuracy"], abs=1e-6)
    assert figures["macro_f1"] == pytest.approx(result.metrics["test/macro_f1"], abs=1e-5)
    saved = load_predictions(result)
    again = load_predictions(load_result(trained).__class__(name="", directory=directory))
    assert again["ids"].tolist() == saved["ids"].tolist()
    assert again["predicted"].tolist() == saved["predicted"].tolist()
    with (directory / "errors.csv").open(newline="") as lines:
        assert len(list(csv.DictReader(lines))) == (saved["predicted"] != saved["labels"]).sum()
    out = capsys.readouterr().out
    assert "Most confident errors" in out
    assert f"accuracy {100 * figures['accuracy']:.2f} %" in out


def test_another_file_can_be_the_test_set(trained, tmp_path, capsys) -> None:
    names = load_result(trained).class_names
    rows = [("oil prices rose", names[0]), ("profit of 5 cts", names[2]), ("wheat, maize", names[2])]
    with (tmp_path / "other.csv").open("w", newline="") as out:
        csv.writer(out).writerows([("words", "kind"), *rows])
    main([f"run={trained}", f"data.test={tmp_path / 'other.csv'}", "data.text_column=words", "data.label_column=2"])
    (directory,) = (trained / "evaluations").glob("*_other.csv")
    with (directory / "predictions.csv").open(newline="") as lines:
        assert [row["id"] for row in csv.DictReader(lines)] == ["1", "2", "3"], "as records are numbered in messages"
    figures = json.loads((directory / "evaluation.json").read_text())
    predicted = load_run(trained).model.predict([text for text, _ in rows])
    assert figures["accuracy"] == pytest.approx(np.mean(predicted == [label for _, label in rows]))


def test_a_file_without_the_columns_of_the_run_is_read_by_the_usual_names(trained, tmp_path) -> None:
    run = load_run(trained)
    of_csv = {"_target_": "unrolled.data.sources.files.CsvFiles", "bad_rows": "drop"}
    run.model.data = {**of_csv, "text_column": "words", "label_column": "kind"}
    for number, header in enumerate(["Text,Label,words", "kind,Label,words"]):
        (file := tmp_path / f"{number}.csv").write_text(f"{header}\na,b,c\n,,\n")
        documents = file_documents(run, {"data.test": str(file)}, Notes())
        assert [(each.text, each.label) for each in documents] == [("c", ["b", "a"][number])]
    (file := tmp_path / "usual.csv").write_text("Text,Label\na,b\n")
    assert file_documents(run, {"data.test": str(file)}, Notes())[0][:2] == ("a", "b")


def test_mistakes_are_user_errors(trained, tmp_path) -> None:
    (tmp_path / "other.csv").write_text("text,label\nsomething,unheard of\n")
    with pytest.raises(UserError, match=r"record 1 of .*other\.csv has the class 'unheard of', .*: remove such"):
        main([f"run={trained}", f"data.test={tmp_path / 'other.csv'}"])
    with pytest.raises(UserError, match="the ending does not tell the format"):
        main([f"run={trained}", f"data.test={tmp_path / 'other.doc'}"])
    with pytest.raises(UserError, match="is not a run"):
        main([f"run={tmp_path}"])
    with pytest.raises(UserError, match=r"data.text_column=a says how a file is read: name the file"):
        main([f"run={trained}", "data.text_column=a"])
    (tmp_path / "other.jsonl").write_text('{"text": "a", "label": "b"}\n')
    with pytest.raises(UserError, match=r"data.delimiter=;: the format jsonl has no such setting"):
        main([f"run={trained}", f"data.test={tmp_path / 'other.jsonl'}", "data.delimiter=;"])
    with pytest.raises(UserError, match=r"data.quoting=2: must be true or false"):
        main([f"run={trained}", f"data.test={tmp_path / 'other.csv'}", "data.quoting=2"])
    with pytest.raises(UserError, match=r"data.test=missing.csv does not exist"):
        main([f"run={trained}", "data.test=missing.csv"])


def test_a_file_is_read_as_the_message_about_it_advises_and_what_is_left_out_is_counted(
    trained, tmp_path, capsys
) -> None:
    name, file = load_result(trained).class_names[0], tmp_path / "bad.csv"
    file.write_bytes(f"text;label\ncaf\xe9 prices;{name}\nno label;\na;b;c;d\nnor here;\n".encode("latin-1"))
    given = [f"run={trained}", f"data.test={file}", "data.delimiter=;"]
    with pytest.raises(UserError, match=r"set data.encoding"):
        main(given)
    with pytest.raises(UserError, match=r"or set data.bad_rows=drop"):
        main([*given, "data.encoding=latin-1"])
    main([*given, "data.encoding=latin-1", "data.bad_rows=drop"])
    out = capsys.readouterr().out
    assert "bad.csv: 1 document\n" in out
    assert f"2 x row without label dropped (first: {file}, record 2" in out
    assert "1 x row with another number of fields dropped" in out
