"""Classifies the texts of a file or a pipe: `python predict.py run=<directory> input=<file> output=<file>`."""

import argparse
import sys
import time
from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from unrolled.arguments import counted
from unrolled.data.readers.columns import Columns
from unrolled.data.readers.csv_reader import CsvReader
from unrolled.data.readers.jsonl_reader import JsonlReader
from unrolled.data.readers.lines_reader import LinesReader
from unrolled.data.readers.parquet_reader import ParquetReader
from unrolled.data.readers.reader import Place, Reader
from unrolled.data.readers.text_file import STANDARD_INPUT, existing_file
from unrolled.errors import UserError
from unrolled.use.key_values import parse_key_values
from unrolled.use.output import Writer, opened_output

if TYPE_CHECKING:
    from unrolled.use.predictor import TextClassifier

DESCRIPTION = """\
Classify texts with the model of a run. Columns and order of the input are kept;
the class and its probability are put behind them. Memory does not grow with the
input.
"""

#: The reader of each format of the input, and the formats of the output.
READERS: dict[str, type[Reader]] = {
    "csv": CsvReader,
    "tsv": CsvReader,
    "jsonl": JsonlReader,
    "parquet": ParquetReader,
    "lines": LinesReader,
}
OUTPUTS = ("csv", "tsv", "jsonl", "lines")
ENDINGS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".txt": "lines",
}

KEYS = {
    "run": "directory of a finished run, or runs/latest",
    "input": "file (.csv, .tsv, .jsonl, .txt, each also .gz, or .parquet), or - for standard input (-)",
    "output": "file, or - for standard output (-)",
    "format": f"of the input where its name does not tell: {', '.join(READERS)} (lines for standard input)",
    "output_format": "of the output (as its name tells, otherwise as the input)",
    "text_column": "name or number from 1 of the column with the text (as in the run, or a common name such as text)",
    "encoding": "of the input, such as cp1252 (as in the run, or what is found: UTF-8, UTF-16 or UTF-32)",
    "delimiter": "of a CSV file: one character, or tab (as in the run, or what is found)",
    "quoting": "whether double quotes enclose fields of a CSV file: true or false (as in the run, or true)",
    "header": "whether the first record of a CSV file names the columns: true or false (as in the run, or true)",
    "checkpoint": "best, last or a file (the weights that the run has tested)",
    "device": "cpu or cuda (a GPU where there is one)",
}

EXAMPLES = """\
examples:
  python predict.py run=runs/latest input=reviews.csv output=classified.csv
  python predict.py run=runs/latest input=news.jsonl output=- --top 3
  echo "the keeper saved everything" | python predict.py run=runs/latest --proba
"""


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser("predict.py", description=DESCRIPTION, epilog=EXAMPLES)
    parser.add_argument("--proba", action="store_true", help="the probability of every class, too")
    parser.add_argument("--top", type=int, metavar="K", help="the K most likely classes with their probabilities")
    options, given = parse_key_values(parser, arguments, KEYS, required=["run"])
    source, target = given.get("input", "-"), given.get("output", "-")
    form = format_of(source, given.get("format"), "format", tuple(READERS))
    to_pipe = target == "-" and "output_format" not in given and form in OUTPUTS
    out_form = form if to_pipe else format_of(target, given.get("output_format"), "output_format", OUTPUTS)
    file = STANDARD_INPUT if source == "-" else existing_file(source, "input", once=True)
    if "-" not in (source, target) and Path(target).exists() and Path(target).samefile(file):
        raise UserError(f"output={target} is the input itself, which would be lost; give another name")
    from unrolled.use.load import load_run  # not at the top: it imports torch

    model = load_run(given["run"], given.get("checkpoint"), given.get("device")).model
    if options.top is not None and not 1 <= options.top <= len(model.classes_):
        raise UserError(f"--top {options.top}: choose from 1 to {len(model.classes_)}, the number of classes")
    began = time.perf_counter()
    reader = reader_for(form, given, model)
    with opened_output(target) as out:
        count = _classify(model, reader, file, out, out_form, options)
        if not count:
            raise UserError(f"input={source} is empty: there is no text to classify")
    seconds = time.perf_counter() - began
    sys.stderr.write(
        f"{counted(count, 'document')}, {model.tokens_read:,} tokens in {seconds:.1f} s: "
        f"{count / seconds:,.0f} documents/s, {model.tokens_read / seconds:,.0f} tokens/s\n"
    )


def format_of(name: str, given: str | None, key: str, formats: Sequence[str]) -> str:
    """``given``, or what the ending of file ``name`` says; plain lines for a pipe."""
    if given is not None:
        if given not in formats:
            raise UserError(f"{key}={given}: choose one of {', '.join(formats)}")
        return given
    if name == "-":
        return "lines"
    found = format_by_ending(name)
    if found is None or found not in formats:
        ending = _ending(name) or "is missing and"
        raise UserError(
            f"{name}: the ending {ending} does not tell the format; set {key}= to one of {', '.join(formats)}"
        )
    return found


def format_by_ending(name: str) -> str | None:
    """The format that the ending of file ``name`` says, one of ``READERS``; .gz behind it does not matter."""
    return ENDINGS.get(_ending(name).lower())


def _ending(name: str) -> str:
    return Path(name.removesuffix(".gz")).suffix


def reader_for(form: str, given: Mapping[str, str], model: "TextClassifier") -> Reader:
    """The reader of the input: as the command line says, otherwise as the run read files of the same format."""
    kind = READERS[form]
    own = model.data
    settings: dict[str, Any] = {}
    if str(own.get("_target_")).rpartition(".")[2] == kind.__name__.replace("Reader", "Files"):
        settings = {key: own[key] for key in kind.setting_names() if key in own}
    if form == "tsv":
        settings["delimiter"] = "tab"
    for key in ("encoding", "delimiter", "quoting", "header"):
        if key in given:
            if key not in kind.setting_names():
                raise UserError(f"{key}={given[key]}: the format {form} has no such setting; leave it out")
            settings[key] = _flag(key, given[key]) if key in ("quoting", "header") else given[key]
    asked = given.get("text_column")
    trained = own.get("text_column")
    usual = tuple(name for name in (trained if isinstance(trained, list) else [trained]) if isinstance(name, str))
    text = int(asked) if asked is not None and asked.isdigit() else asked
    if text is None and settings and isinstance(trained, int):
        text = trained  # a file of the run's own format: the column with the same number
    return kind(Columns(text, labelled=False, usual=usual, prefix=""), **settings)


def _flag(key: str, value: str) -> bool:
    if value.lower() not in ("true", "false"):
        raise UserError(f"{key}={value}: choose true or false")
    return value.lower() == "true"


def _refuse(place: Place, kind: str, message: str) -> None:
    """A row that cannot be used: without it the output would not have the rows of the input."""
    raise UserError(f"{place}: {message}")


def _classify(
    model: "TextClassifier", reader: Reader, file: Path, out: IO[str], form: str, options: argparse.Namespace
) -> int:
    """Write every row with its classes; returns how many there are."""
    writer = Writer(out, form, added_fields(model.classes_, options.top, options.proba))
    waiting: deque[tuple[Collection[str], Collection[Any]]] = deque()  # rows that the model has not yet classified

    def texts() -> Iterator[str]:
        for row in reader.rows(file, _refuse):
            waiting.append((row.names, row.fields))
            yield " ".join(row.texts)

    count = 0
    for proba in model.iter_proba(texts()):
        writer.write(*waiting.popleft(), field_values(proba, model.classes_, options.top, options.proba))
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
