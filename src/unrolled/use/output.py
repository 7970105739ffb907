"""Writing classified documents: CSV, TSV, JSON lines or plain lines, to a file or a pipe."""

import csv
import gzip
import io
import json
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from unrolled.errors import UserError
from unrolled.files import replacing

UNWRITABLE = "backslashreplace"  # halves of characters, which JSON can hold, are written as JSON writes them


@contextmanager
def opened_output(name: str) -> Iterator[IO[str]]:
    """Standard output for ``-``, otherwise a file, gzipped where it ends in .gz, that appears when it is complete."""
    if name == "-":
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors=UNWRITABLE)
        yield sys.stdout
        sys.stdout.flush()
        return
    path = Path(name)
    if not path.parent.is_dir():
        raise UserError(f"output={name} cannot be written: there is no directory {path.parent}")
    opened: Any = gzip.open if path.suffix == ".gz" else open
    with replacing(path) as new, opened(new, "wt", encoding="utf-8", errors=UNWRITABLE, newline="") as text:
        yield text


class Writer:
    """Writes rows with further fields behind those they had.

    form: of the output, ``csv``, ``tsv``, ``jsonl`` or ``lines``; added: names of the further fields, with an
    underscore behind one that the row has already.
    """

    def __init__(self, stream: IO[str], form: str, added: Sequence[str]) -> None:
        self.stream = stream
        self.form = form
        self.added = list(added)
        self._columns: list[str] = []
        self._table: Any = None

    def write(self, names: Collection[str], fields: Collection[Any], values: Sequence[Any]) -> None:
        """names, fields: of the row as it was read; values: of the further fields."""
        if self.form == "lines":
            self.stream.write("\t".join(map(_text, values)) + "\n")
        elif self.form == "jsonl":
            record = dict(zip(names, fields, strict=False)) | dict(zip(self._free(names), values, strict=True))
            self.stream.write(json.dumps(record, ensure_ascii=False, default=str) + "\n")
        else:
            if self._table is None:
                self._columns = list(names)
                delimiter = "," if self.form == "csv" else "\t"
                self._table = csv.writer(self.stream, delimiter=delimiter, lineterminator="\n")
                self._table.writerow([*names, *self._free(names)])
            if list(names) != self._columns:
                raise UserError(
                    f"a row has the keys {', '.join(names)}, the first one had {', '.join(self._columns)}: a table "
                    f"needs the same in each; write output_format=jsonl"
                )
            self._table.writerow([*map(_text, fields), *map(_text, values)])

    def _free(self, taken: Collection[str]) -> list[str]:
        names = []
        for name in self.added:
            while name in taken:
                name += "_"
            names.append(name)
        return names


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6f}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
