"""Classifies the texts of a file or a pipe: `python predict.py run=<directory> input=<file> output=<file>`."""

import argparse
import codecs
import sys
import time
from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from unrolled.arguments import counted, typed_values
from unrolled.data.readers.columns import Columns
from unrolled.data.readers.csv_reader import CsvReader
from unrolled.data.readers.jsonl_reader import JsonlReader
from unrolled.data.readers.lines_reader import LinesReader
from unrolled.data.readers.parquet_reader import ParquetReader
from unrolled.data.readers.reader import Place, Reader
from unrolled.data.readers.text_file import STANDARD_INPUT, existing_file, is_utf8
from unrolled.errors import UserError
from unrolled.use.key_values import parse_key_values
from unrolled.use.output import Writer, opened_output

if TYPE_CHECKING:
    from unrolled.use.predictor import TextClassifier

DESCRIPTION = """\
Classify texts with the model of a run. Columns and order of the input are kept;
the class and its probability are put behind them. Output as plain lines has the
class and its probability alone, with a tab between them. Memory does not grow
with the input.
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
    "encoding": "of the input, such as cp1252 (UTF-8 where it is that, otherwise as in the run, or UTF-16 or UTF-32)",
    "delimiter": "of a CSV file: one character, or tab (as in the run, or what is found)",
    "quoting": "whether double quotes enclose fields of a CSV file: true or false (as in the run, or true)",
    "header": "whether the first record of a CSV file names the columns: true or false (as in the run, or true)",
    "checkpoint": "best, last or a file (the weights that the run has tested)",
    "device": "cpu or cuda (a GPU where there is one)",
}

READING = ("text_column", "encoding", "delimiter", "quoting", "header")  # the keys that say how the input is read

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
    file = STANDARD_INPUT if source == "-" else existing_file(source, "input", once=True)
    if Path(target).is_dir():
        raise UserError(f"output={target} is a directory, not a file; give a file")
    form = format_of(source, given.get("format"), "format", tuple(READERS))
    to_pipe = target == "-" and "output_format" not in given and form in OUTPUTS
    out_form = form if to_pipe else format_of(target, given.get("output_format"), "output_format", OUTPUTS)
    if "-" not in (source, target) and Path(target).exists() and Path(target).samefile(file):
        raise UserError(f"output={target} is the input itself, which would be lost; give another name")
    from unrolled.use.load import load_run  # not at the top: it imports torch

    model = load_run(given["run"], given.get("checkpoint"), given.get("device")).model
    if options.top is not None and not 1 <= options.top <= len(model.classes_):
        raise UserError(f"--top {options.top}: choose from 1 to {len(model.classes_)}, the number of classes")
    began = time.perf_counter()
    reader = reader_for(form, file, model.data, {key: given[key] for key in READING if key in given})
    with opened_output(target) as out:
        count = _classify(model, reader, file, out, out_form, options)
        if not count:
            raise UserError(f"input={source} is empty: there is no text to classify")
    seconds = time.perf_counter() - began
    if model.blank or model.unknown:
        unknown = f"{model.blank:,} without a word, {model.unknown:,} with unknown words alone"
        sys.stderr.write(f"warning: documents whose class is a guess: {unknown}\n")
    sys.stderr.write(
        f"{counted(count, 'document')}, {counted(model.tokens_read, 'token')} in {seconds:.1f} s: "
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


def reader_for(
    form: str, file: Path, own: Mapping[str, Any], given: Mapping[str, str], labelled: bool = False, prefix: str = ""
) -> Reader:
    """The reader of ``file``, which is no file of the run: as ``given`` says, otherwise as the run read its own.

    form: of ``READERS``; own: the run's settings of its data; labelled: whether the class is read, too; prefix: before
    the names of keys in messages. The names of the run's columns are looked for in a file of any format, and common
    names where they are not there; numbers of columns and settings of a reader hold for a file of the run's own format.
    """
    kind, column_keys = READERS[form], ("text_column", "label_column")[: 1 + labelled]
    same = str(own.get("_target_")).rpartition(".")[2] == kind.__name__.replace("Reader", "Files")
    settings = {key: own[key] for key in kind.setting_names() if same and key in own}
    by_name = {key: _names(own.get(key)) for key in column_keys}
    columns = {key: own[key] for key in column_keys if same and own.get(key) is not None and not by_name[key]}
    if form == "tsv":
        settings["delimiter"] = "tab"
    if settings.get("encoding") is not None and "encoding" not in given:
        settings["encoding"] = _encoding(file, settings["encoding"], prefix)
    for key, value in given.items():
        if key in column_keys:
            columns[key] = int(value) if value.isdigit() else value
        elif key in kind.setting_names():
            settings[key] = {"true": True, "false": False}.get(value.lower(), value)
        else:
            raise UserError(f"{prefix}{key}={value}: the format {form} has no such setting; leave it out")
    wanted = Columns(
        columns.get("text_column"),
        columns.get("label_column"),
        labelled=labelled,
        usual=by_name["text_column"],
        usual_label=next(iter(by_name.get("label_column", ())), None),
        prefix=prefix,
    )
    return kind(wanted, **typed_values(prefix.rstrip("."), kind, settings))


def _names(column: Any) -> tuple[str, ...]:
    """The columns that ``column`` names: none where one of them is a number."""
    listed = column if isinstance(column, list) else [column]
    return tuple(listed) if all(isinstance(each, str) for each in listed) else ()


def _encoding(file: Path, trained: str, prefix: str) -> str:
    """The encoding of ``file``: that of the run's own files, ``trained``, unless it plainly is UTF-8."""
    used, other = trained, "utf-8"
    if codecs.lookup(trained).name.startswith("utf-8"):
        return trained
    if file.is_file():  # a pipe can be read only once
        if not is_utf8(file, but_ascii="a".encode(trained) == b"a"):
            return trained
        used, other = other, used
    own = f"as the run's own files are in {trained}" if used == trained else f"though the run's own are in {trained}"
    sys.stderr.write(f"{file} is read as {used}, {own}; {prefix}encoding={other} reads it as {other}\n")
    return used


def _refuse(place: Place, kind: str, message: str) -> None:
    """A row that cannot be used: without it the output would not have the rows of the input."""
    raise UserError(f"{place}: {message}")


def _classify(
    model: "TextClassifier", reader: Reader, file: Path, out: IO[str], form: str, options: argparse.Namespace
) -> int:
    """Write every row with its classes; returns how many there are."""
    added = added_fields(model.classes_, options.top, options.proba)
    if form == "lines" and options.proba:
        sys.stderr.write(f"the fields of each line: {', '.join(added)}\n")
    writer = Writer(out, form, added)
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
