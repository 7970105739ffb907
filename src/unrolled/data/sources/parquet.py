"""Parquet files, read in batches with pyarrow (extra ``parquet``)."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

from unrolled.data.sources.columns import find_columns
from unrolled.data.sources.extras import require_extra
from unrolled.data.sources.files import FileSource, Place
from unrolled.data.sources.jsonl import plain
from unrolled.data.sources.source import Document, Notes
from unrolled.errors import UserError

log = logging.getLogger(__name__)

BATCH = 1024  # rows in memory at once, besides the compressed row group


class ParquetFiles(FileSource):
    """Tables in Parquet files, one row a document.

    Args:
        train, valid, test, text_column, label_column, empty, bad_rows: see `FileSource`.

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
        empty: str = "keep",
        bad_rows: str = "stop",
    ) -> None:
        require_extra("pyarrow", "parquet", "data=parquet")
        super().__init__(train, valid, test, text_column, label_column, empty, bad_rows)

    def documents(self, split: str, notes: Notes) -> Iterator[Document]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        place = Place(self.files[split])
        try:
            with pq.ParquetFile(place.file) as table:
                names = list(table.schema_arrow.names)
                texts, label = find_columns(names, self.text_column, self.label_column, str(place.file))
                chosen = [*texts, label]
                for index in chosen:
                    kind = table.schema_arrow.field(index).type
                    if pa.types.is_nested(kind):
                        raise UserError(f"{place.file}: column {names[index]!r} holds {kind}, not text; choose another")
                log.info(
                    "%s: text %s, class %r.",
                    place.file,
                    " + ".join(repr(names[index]) for index in texts),
                    names[label],
                )
                for batch in table.iter_batches(batch_size=BATCH):
                    for row in zip(*(batch.column(index).to_pylist() for index in chosen), strict=True):
                        place.record += 1
                        document = self.document([plain(text) for text in row[:-1]], plain(row[-1]), notes, place)
                        if document is not None:
                            yield document
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(
                f"{place.file} cannot be read as Parquet after record {place.record} ({reason}); "
                f"write or download it again"
            ) from error
