"""Reader of Parquet files, in batches with pyarrow (extra ``parquet``)."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from unrolled.data.extras import require_extra
from unrolled.data.readers.reader import BadRow, Place, Reader, Row, plain
from unrolled.data.readers.text_file import STANDARD_INPUT
from unrolled.errors import UserError

BATCH = 1024  # rows in memory at once, besides the compressed row group


@dataclass
class ParquetReader(Reader):
    """Reads Parquet tables: values as JSON writes them, null as nothing.

    Where a class is read (in training), rows have the columns of text and class only.
    """

    def __post_init__(self) -> None:
        require_extra("pyarrow", "parquet", "data=parquet" if self.columns.labelled else "a Parquet file")

    def rows(self, file: Path, bad_row: BadRow) -> Iterator[Row]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        if file == STANDARD_INPUT:
            raise UserError("a Parquet file cannot be read from standard input; give the path of a file")
        place = Place(file)
        try:
            with pq.ParquetFile(file) as table:
                schema = table.schema_arrow
                texts, label, group = self.columns_read(file, schema.names, str(file))
                chosen = [index for index in (*texts, label, group) if index is not None]
                for index in chosen:
                    if pa.types.is_nested(schema.field(index).type):
                        kind = schema.field(index).type
                        raise UserError(
                            f"{file}: column {schema.names[index]!r} holds {kind}, not text; choose another"
                        )
                read = chosen if self.columns.labelled else range(len(schema.names))
                names = [schema.names[index] for index in read]
                at = [read.index(index) for index in texts]
                for batch in table.iter_batches(batch_size=BATCH):
                    for row in zip(*(batch.column(index).to_pylist() for index in read), strict=True):
                        place.record += 1
                        label_text = "" if label is None else plain(row[read.index(label)])
                        group_text = "" if group is None else plain(row[read.index(group)]).strip()
                        yield Row(place, [plain(row[index]) for index in at], label_text, names, row, group_text)
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(
                f"{file} cannot be read as Parquet after record {place.record} ({reason}); write or download it again"
            ) from error
