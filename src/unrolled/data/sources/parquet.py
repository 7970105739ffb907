"""Parquet files as a source of documents (extra ``parquet``)."""

from __future__ import annotations

from typing import Any

from unrolled.data.readers.columns import Columns
from unrolled.data.readers.parquet_reader import ParquetReader
from unrolled.data.sources.files import FileSource


class ParquetFiles(FileSource):
    """Tables in Parquet files, one row a document.

    Args:
        train, valid, test, text_column, label_column, group_column, empty, bad_rows: see `FileSource`.

    Raises:
        UserError: pyarrow is not installed.
    """

    def __init__(
        self,
        train: str | None = None,
        valid: str | None = None,
        test: str | None = None,
        text_column: Any = None,
        label_column: Any = None,
        group_column: Any = None,
        empty: str = "keep",
        bad_rows: str = "stop",
    ) -> None:
        reader = ParquetReader(Columns(text_column, label_column, group_column))
        super().__init__(reader, train, valid, test, empty, bad_rows)
