"""CSV and TSV files as a source of documents."""

from __future__ import annotations

from typing import Any

from unrolled.data.readers.columns import Columns
from unrolled.data.readers.csv_reader import CsvReader
from unrolled.data.sources.files import FileSource


class CsvFiles(FileSource):
    """Tables in CSV or TSV files, one record a document.

    Args:
        train, valid, test, text_column, label_column, group_column, empty, bad_rows: see `FileSource`.
        delimiter, quoting, header, encoding: see `CsvReader`.
    """

    def __init__(
        self,
        train: str | None = None,
        valid: str | None = None,
        test: str | None = None,
        text_column: Any = None,
        label_column: Any = None,
        group_column: Any = None,
        delimiter: str | None = None,
        quoting: bool = True,
        header: bool = True,
        encoding: str | None = None,
        empty: str = "keep",
        bad_rows: str = "stop",
    ) -> None:
        reader = CsvReader(Columns(text_column, label_column, group_column), delimiter, quoting, header, encoding)
        super().__init__(reader, train, valid, test, empty, bad_rows)
