"""Files of JSON lines as a source of documents."""

from __future__ import annotations

from typing import Any

from unrolled.data.readers.columns import Columns
from unrolled.data.readers.jsonl_reader import JsonlReader
from unrolled.data.sources.files import FileSource


class JsonlFiles(FileSource):
    """Files with a JSON object on each line; its keys are the columns.

    Args:
        train, valid, test, text_column, label_column, group_column, empty, bad_rows: see `FileSource`.
        encoding: see `JsonlReader`.
    """

    def __init__(
        self,
        train: str | None = None,
        valid: str | None = None,
        test: str | None = None,
        text_column: Any = None,
        label_column: Any = None,
        group_column: Any = None,
        encoding: str | None = None,
        empty: str = "keep",
        bad_rows: str = "stop",
    ) -> None:
        reader = JsonlReader(Columns(text_column, label_column, group_column), encoding)
        super().__init__(reader, train, valid, test, empty, bad_rows)
