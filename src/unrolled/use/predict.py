"""`python predict.py run=<directory> input=<file> output=<file>`: texts to classes."""

import argparse
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unrolled.errors import UserError
from unrolled.pairs import parse_pairs
from unrolled.use.documents_io import FORMATS, Reader, Row, Writer, format_of, open_reader, opened_input, opened_output
from unrolled.use.load import load
from unrolled.use.predictor import TextClassifier

DESCRIPTION = """\
Classify texts with the model of a run. Columns and order of the input are kept; the class and its probability are put
behind them. Memory does not grow with the input.
"""

KEYS = {
    "run": "directory of a finished run, or runs/latest",
    "input": "file (.csv, .tsv, .jsonl, .txt, each also .gz), or - for standard input (-)",
    "output": "file, or - for standard output (-)",
    "format": f"of the input where its name does not tell: {', '.join(FORMATS)} (lines for standard input)",
    "output_format": "of the output (as its name tells, otherwise as the input)",
    "text_column": "name or number from 1 of the column with the text (as in the run, or a common name such as text)",
    "checkpoint": "best, last or a file (the weights that the run has tested)",
    "device": "cpu or cuda (a GPU where there is one)",
}

EXAMPLES = """\
examples:
  python predict.py run=runs/latest input=reviews.csv output=classified.csv
  python predict.py run=runs/latest input=news.jsonl output=- --top 3
  echo "the goalkeeper saved everything" | python predict.py run=runs/latest --proba
"""


def main(arguments: Sequence[str]) -> None:
    """Do what the command line says. Raises UserError where it cannot be done."""
    parser = argparse.ArgumentParser("predict.py", description=DESCRIPTION, epilog=EXAMPLES)
    parser.add_argument("--proba", action="store_true", help="the probability of every class, too")
    parser.add_argument("--top", type=int, metavar="K", help="the K likeliest classes with their probabilities")
    options, given = parse_pairs(parser, arguments, KEYS, required=["run"])
    source, target = given.get("input", "-"), given.get("output", "-")
    form = format_of(source, given.get("format"), "format")
    out_form = (
        form
        if target == "-" and "output_format" not in given
        else format_of(target, given.get("output_format"), "output_format")
    )
    if (
        "-" not in (source, target)
        and Path(target).exists()
        and Path(source).exists()
        and Path(target).samefile(source)
    ):
        raise UserError(f"output={target} is the input itself, which would be lost; give another name")
    model = load(given["run"], given.get("checkpoint"), given.get("device"))
    if options.top is not None and not 1 <= options.top <= len(model.classes_):
        raise UserError(f"--top {options.top}: choose from 1 to {len(model.classes_)}, the number of classes")
    began = time.perf_counter()
    with opened_input(source) as stream, opened_output(target) as out:
        try:
            reader = open_reader(stream, source, form, given.get("text_column"), _trained_on(model))
            count = _classify(model, reader, out, out_form, options)
        except UnicodeDecodeError as error:
            raise UserError(f"input={source} is not UTF-8 ({error}); convert it first") from error
        if not count:
            raise UserError(f"input={source} is empty: there is no text to classify")
    seconds = time.perf_counter() - began
    sys.stderr.write(
        f"{count:,} documents, {model.tokens_read:,} tokens in {seconds:.1f} s: "
        f"{count / seconds:,.0f} documents/s, {model.tokens_read / seconds:,.0f} tokens/s\n"
    )


def _trained_on(model: TextClassifier) -> list[str]:
    """The names of the text columns that the run's settings give, if they do."""
    given = model.classifier.hparams["config"].get("data", {}).get("text_column")
    return [name for name in (given if isinstance(given, list) else [given]) if isinstance(name, str)]


def _classify(model: TextClassifier, reader: Reader, out: Any, form: str, options: argparse.Namespace) -> int:
    writer = Writer(out, form, reader.columns, added_fields(model.classes_, options.top, options.proba))
    waiting: deque[Row] = deque()  # rows whose texts the model has taken but not yet classified

    def texts() -> Iterator[str]:
        for row, text in reader.rows():
            waiting.append(row)
            yield text

    count = 0
    for proba in model.iter_proba(texts()):
        writer.write(waiting.popleft(), field_values(proba, model.classes_, options.top, options.proba))
        count += 1
    return count


def added_fields(classes: NDArray[Any], top: int | None, every: bool) -> list[str]:
    """Names of the fields that are put behind those of the input."""
    names = ["predicted", "probability"]
    for place in range(2, (top or 1) + 1):
        names += [f"predicted_{place}", f"probability_{place}"]
    return names + ([f"probability of {name}" for name in classes] if every else [])


def field_values(proba: NDArray[np.float32], classes: NDArray[Any], top: int | None, every: bool) -> list[str | float]:
    """Their values for one document; proba: [C]."""
    values: list[str | float] = []
    for index in np.argsort(-proba, kind="stable")[: top or 1]:
        values += [str(classes[index]), round(float(proba[index]), 6)]
    return values + ([round(float(p), 6) for p in proba] if every else [])
