"""Evaluation of a trained run: `python evaluate.py run=<directory>`."""

import argparse
import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.markup import escape

from unrolled.arguments import counted, typed_values
from unrolled.console import plain_table, say
from unrolled.data.readers.text_file import existing_file
from unrolled.data.sources.build import build_source
from unrolled.data.sources.files import CsvFiles, FileSource, JsonlFiles, ParquetFiles
from unrolled.data.sources.source import Document, Notes, note_lines, numbered
from unrolled.errors import UserError
from unrolled.files import cache_directory, write_atomically
from unrolled.use.key_values import parse_key_values
from unrolled.use.predict import format_by_ending, reader_for

if TYPE_CHECKING:
    from unrolled.use.load import LoadedRun

DESCRIPTION = """\
Evaluate the model of a run with the run's own configuration: on its test set,
or on a file of your own.

Shows accuracy, precision, recall and F1 per class, calibration and the most
confident errors, and writes them with the confusion matrix and all predictions
to a new directory inside the run's.
"""

KEYS = {
    "run": "directory of a finished run, or runs/latest",
    "data.test": "another test set: a .csv, .tsv, .jsonl or .parquet file (the test set of the run)",
    "data.text_column": "of that file: name or number from 1 (this key and the next: as in the run, or a usual name)",
    "data.label_column": "of that file: name or number from 1",
    "data.bad_rows": "stop or drop: rows that cannot be used, such as those without a label",
    "data.empty": "keep or drop: blank texts",
    "data.encoding": "of that file, such as cp1252 (UTF-8 where it is that, otherwise as in the run)",
    "data.delimiter": "of a CSV file: one character, or tab",
    "data.quoting": "whether double quotes enclose fields of a CSV file: true or false",
    "data.header": "whether the first record of a CSV file names the columns: true or false",
    "checkpoint": "best, last or a file (the weights that the run has tested)",
    "device": "cpu or cuda (a GPU where there is one)",
    "errors": "how many of the most confident errors to show (10)",
}

EXAMPLES = """\
examples:
  python evaluate.py run=runs/latest
  python evaluate.py run=runs/latest data.test=new.csv data.label_column=stars
"""

BINS = 15  # of the calibration error, as Guo et al. (2017) have it
OF_ROWS = ("empty", "bad_rows")  # the keys that say what becomes of rows, whatever the format
#: The sources that read the formats of files.
SOURCES: dict[str, type[FileSource]] = {"csv": CsvFiles, "tsv": CsvFiles, "jsonl": JsonlFiles, "parquet": ParquetFiles}


@dataclass(frozen=True)
class Evaluation:
    """Predictions of a classifier for N documents with C classes, and the figures made of them."""

    class_names: list[str]
    labels: NDArray[np.int64]  # [N]
    proba: NDArray[np.float32]  # [N, C]

    @property
    def predicted(self) -> NDArray[np.int64]:
        """[N]"""
        return self.proba.argmax(axis=1)

    @property
    def confidence(self) -> NDArray[np.float32]:
        """[N] probability of the predicted class."""
        return self.proba.max(axis=1)

    @property
    def confusions(self) -> NDArray[np.int64]:
        """[C, C] true class, predicted class."""
        from sklearn.metrics import confusion_matrix

        counts: NDArray[np.int64] = confusion_matrix(self.labels, self.predicted, labels=range(len(self.class_names)))
        return counts

    @property
    def accuracy(self) -> float:
        return float((self.predicted == self.labels).mean())

    def per_class(self) -> list[dict[str, Any]]:
        """Precision, recall, F1 (0 where nothing was predicted or there) and documents of each class."""
        from sklearn.metrics import precision_recall_fscore_support

        figures = precision_recall_fscore_support(
            self.labels, self.predicted, labels=range(len(self.class_names)), zero_division=0
        )
        return [
            {"class": name, "precision": float(p), "recall": float(r), "f1": float(f), "documents": int(n)}
            for name, p, r, f, n in zip(self.class_names, *figures, strict=True)
        ]

    @property
    def macro_f1(self) -> float:
        """The mean F1 of the classes that occur, in the documents or the predictions (as torchmetrics has it)."""
        from sklearn.metrics import f1_score

        return float(f1_score(self.labels, self.predicted, average="macro", zero_division=0))

    @property
    def calibration_error(self) -> float:
        """Expected calibration error: |accuracy - confidence| over 15 equal bins of confidence (Guo et al., 2017)."""
        right = self.predicted == self.labels
        bins = np.minimum((self.confidence * BINS).astype(int), BINS - 1)
        gaps = [
            (bins == b).sum() * abs(right[bins == b].mean() - self.confidence[bins == b].mean())
            for b in np.unique(bins)
        ]
        return float(sum(gaps) / len(right))

    def confident_errors(self, count: int) -> list[int]:
        """Indices of the wrongly classified documents, the most confident first."""
        wrong = np.flatnonzero(self.predicted != self.labels)
        return [int(i) for i in wrong[np.argsort(-self.confidence[wrong], kind="stable")][:count]]


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser("evaluate.py", description=DESCRIPTION, epilog=EXAMPLES)
    _, given = parse_key_values(parser, arguments, KEYS, required=["run"])
    if not given.get("errors", "10").isdigit():
        raise UserError(f"errors={given['errors']}: a whole number of errors to show, such as 10")
    reading = [key for key in given if key.startswith("data.") and key != "data.test"]
    if reading and "data.test" not in given:
        raise UserError(f"{reading[0]}={given[reading[0]]} says how a file is read: name the file with data.test=, too")
    from unrolled.use.load import load_run  # not at the top: it imports torch

    run = load_run(given["run"], given.get("checkpoint"), given.get("device"))
    notes = Notes()
    if "data.test" in given:
        name = Path(given["data.test"]).name
        documents = file_documents(run, given, notes)
    else:
        name = "test"
        documents = own_documents(run, notes)
    evaluation = evaluate(run, documents, given.get("data.test", "the test set"))
    directory = save(run, evaluation, documents, name)
    show(run, evaluation, documents, name, int(given.get("errors", "10")), Console())
    for line in note_lines(notes.as_dict()):
        print(line)
    print(f"written to {directory}")


def evaluate(run: "LoadedRun", documents: Sequence[Document], source: str) -> Evaluation:
    """Classify ``documents`` of ``source``. Raises UserError for a class that the model does not know."""
    names = [str(name) for name in run.model.classes_]
    index = {name: i for i, name in enumerate(names)}
    for document in documents:
        if document.label not in index:
            raise UserError(
                f"record {document.record} of {source} has the class {document.label!r}, which the model does not "
                f"know; it knows {', '.join(names[:20])}{' and others' if len(names) > 20 else ''}: remove such rows, "
                "or name another column with data.label_column"
            )
    labels = np.array([index[document.label] for document in documents], dtype=np.int64)
    return Evaluation(names, labels, run.model.predict_proba(document.text for document in documents))


def own_documents(run: "LoadedRun", notes: Notes) -> list[Document]:
    """The documents of the run's own test set, by record number. Raises UserError where the data have changed since."""
    from unrolled.data.prepare import prepare

    data = run.config.data
    prepared = prepare(data, run.config.text, run.config.seed)
    if prepared.vocabulary.tokens != run.model.vocabulary.tokens:
        raise UserError(
            f"the documents of {prepared.name} are not those that {run.result.directory} was trained on: they give "
            "another vocabulary; give the test documents with data.test=, or train again"
        )
    source = build_source(data.source)
    source.fetch(cache_directory(data.cache_dir))
    split = "test" if "test" in source.splits() and data.fold is None else "train"
    wanted = set(prepared.test.ids.tolist())
    return [document for document in numbered(source.documents(split, notes)) if document.record in wanted]


def file_documents(run: "LoadedRun", given: dict[str, str], notes: Notes) -> list[Document]:
    """The documents of the file ``given["data.test"]``, read as the run read its own files; ``notes`` what is left out.

    Raises UserError where the file cannot be read, or a key of ``given`` is not one of its format.
    """
    path, own = given["data.test"], run.model.data
    form = format_by_ending(path) or ""
    source_class = SOURCES.get(form)
    if source_class is None:
        raise UserError(f"data.test={path}: the ending does not tell the format; give a {', '.join(SOURCES)} file")
    of_rows = {key: given.get(f"data.{key}", own.get(key)) for key in OF_ROWS if f"data.{key}" in given or key in own}
    file = existing_file(path, "data.test")
    source = source_class(train=str(file), **typed_values("data", source_class, of_rows))
    reading = {key.removeprefix("data."): value for key, value in given.items() if key.startswith("data.")}
    for key in ("test", *OF_ROWS):
        reading.pop(key, None)
    source.reader = reader_for(form, file, own, reading, labelled=True, prefix="data.")
    documents = list(source.documents("train", notes))
    if not documents:
        raise UserError(f"data.test={path}: there is no document in it that can be classified")
    return documents


def save(run: "LoadedRun", evaluation: Evaluation, documents: Sequence[Document], name: str) -> Path:
    """Write the figures, every prediction, the confusion matrix and all errors to a new directory in the run's."""
    from unrolled.train.confusions import draw_confusion_matrix
    from unrolled.train.predictions import save_predictions

    moment = datetime.now().astimezone().strftime("%Y-%m-%d_%H-%M-%S-%f")
    directory = run.result.directory / "evaluations" / f"{moment}_{name}"
    directory.mkdir(parents=True)
    figures = {
        "data": name,
        "checkpoint": str(run.checkpoint),
        "documents": len(documents),
        "accuracy": evaluation.accuracy,
        "macro_f1": evaluation.macro_f1,
        "calibration_error": evaluation.calibration_error,
        "classes": evaluation.per_class(),
        "confusions": evaluation.confusions.tolist(),
    }
    write_atomically(directory / "evaluation.json", json.dumps(figures, indent=2, ensure_ascii=False) + "\n")
    ids = np.array([document.record for document in documents], dtype=np.int64)
    columns = {"ids": ids, "labels": evaluation.labels, "predicted": evaluation.predicted}
    save_predictions(directory, columns | {"probability": evaluation.confidence}, evaluation.class_names)
    figure = draw_confusion_matrix(evaluation.confusions, evaluation.class_names)
    figure.savefig(directory / "confusion_matrix.png", dpi=120)
    with (directory / "errors.csv").open("w", newline="", encoding="utf-8", errors="surrogatepass") as out:
        rows = csv.writer(out)
        rows.writerow(["id", "label", "predicted", "probability", "text"])
        for i in evaluation.confident_errors(len(documents)):
            guess, probability = evaluation.predicted[i], f"{evaluation.confidence[i]:.6f}"
            rows.writerow([ids[i], documents[i].label, evaluation.class_names[guess], probability, documents[i].text])
    return directory


def show(
    run: "LoadedRun", evaluation: Evaluation, documents: Sequence[Document], name: str, errors: int, console: Console
) -> None:
    """Print the figures, class by class, and where the model is wrong."""
    say(
        console,
        f"{run.result.name} on {name}: {counted(len(documents), 'document')}\n"
        f"accuracy {100 * evaluation.accuracy:.2f} %, "
        f"macro F1 {100 * evaluation.macro_f1:.2f} %, calibration error {100 * evaluation.calibration_error:.2f} %",
    )
    rows = []
    for row in evaluation.per_class():
        shares = (f"{100 * row[key]:.2f}" for key in ("precision", "recall", "f1"))
        rows.append((escape(row["class"]), *shares, f"{row['documents']:,}"))
    console.print(plain_table(("class", "precision", "recall", "F1", "documents"), rows))
    if worst := evaluation.confident_errors(errors):
        console.print("\nMost confident errors:")
        for i in worst:
            guess = evaluation.class_names[evaluation.predicted[i]]
            text = " ".join(documents[i].text.split())
            sure = f"{100 * evaluation.confidence[i]:.1f} % {guess}"
            line = f"  record {documents[i].record}: {sure}, but {documents[i].label}: {text[:160]}"
            say(console, line)
