"""Data sets of the Hugging Face hub, or saved from its library to a local directory (extra ``hub``)."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unrolled.data.extras import require_extra
from unrolled.data.readers.columns import Columns
from unrolled.data.readers.reader import plain
from unrolled.data.sources.source import SPLITS, Document, Notes, Source
from unrolled.errors import UserError
from unrolled.files import sha256, user_path


@dataclass
class HuggingFace(Source):
    """What ``datasets.load_dataset`` loads; labels that are numbers with names are shown by name.

    A local ``path`` is a directory that ``save_to_disk`` wrote or that holds data files. conf/data/huggingface.yaml
    says what the arguments mean. Raises UserError where the library is not installed.
    """

    path: str
    subset: str | None = None
    revision: str | None = None
    train: str = "train"
    valid: str | None = "validation"
    test: str | None = "test"
    text_column: Any = None
    label_column: Any = None
    group_column: Any = None

    def __post_init__(self) -> None:
        require_extra("datasets", "hub", "data=huggingface")
        self.names = {split: getattr(self, split) for split in SPLITS}
        self.columns = Columns(self.text_column, self.label_column, self.group_column)
        self.name = Path(self.path).name or self.path
        self.tables: dict[str, Any] = {}

    def fetch(self, cache_dir: Path) -> None:
        """Load (and, from the hub, download) the splits, which the library keeps in a cache of its own."""
        import datasets

        directory = user_path(self.path, "data.path")
        try:
            if (directory / "dataset_dict.json").is_file() or (directory / "state.json").is_file():
                loaded = datasets.load_from_disk(str(directory))
            else:
                loaded = datasets.load_dataset(self.path, self.subset, revision=self.revision)
        except Exception as error:  # the library raises whatever its many readers and the network do
            reason = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
            raise UserError(
                f"data.path={self.path} could not be loaded ({type(error).__name__}: {reason}); check the name, "
                f"data.subset and the network, or give a local directory"
            ) from error
        if isinstance(loaded, datasets.Dataset):
            loaded = {self.names["train"]: loaded}
        for split, name in self.names.items():
            if name is not None and name in loaded:
                self.tables[split] = loaded[name]
        if "train" not in self.tables:
            raise UserError(
                f"data.path={self.path} has no split data.train={self.names['train']}; it has {', '.join(loaded)}"
            )

    def splits(self) -> tuple[str, ...]:
        return tuple(self.tables)

    def where(self, split: str) -> str:
        return f"{self.path}[{self.names[split]}]"

    def fingerprint(self) -> dict[str, Any]:
        """Hashes of the tables' files (or of their rows, where they lie in memory) and the columns asked for."""
        files = {}
        for split, table in self.tables.items():
            running = hashlib.sha256()
            if table.cache_files:
                for file in table.cache_files:
                    running.update(sha256(Path(file["filename"])).encode())
            else:
                for row in table:
                    running.update(json.dumps(row, default=str, sort_keys=True).encode())
            files[split] = [running.hexdigest(), len(table)]
        return {
            "reader": "HuggingFace",
            "files": files,
            "columns": [self.columns.text, self.columns.label, self.columns.group],
        }

    def documents(self, split: str, notes: Notes) -> Iterator[Document]:
        table = self.tables[split]
        where = self.where(split)
        texts, label = self.columns.find(table.column_names, where)
        assert label is not None
        text_names = [table.column_names[index] for index in texts]
        label_name = table.column_names[label]
        class_names = getattr(table.features[label_name], "names", None)
        group = self.columns.find_group(table.column_names, where)
        group_names = [] if group is None else [table.column_names[group]]
        record = 0
        for batch in table.select_columns({*text_names, label_name, *group_names}).iter(batch_size=1000):
            read = [batch[name] for name in (*text_names, *group_names, label_name)]
            for *values, given in zip(*read, strict=True):
                record += 1
                group_text = plain(values.pop()).strip() if group_names else ""
                if class_names is not None and isinstance(given, int):
                    given = class_names[given] if 0 <= given < len(class_names) else None
                if given is None or not plain(given).strip():
                    raise UserError(
                        f"{where}, record {record}: column {label_name!r} has no label; where a whole split has none, "
                        f"set data.{split} to another split or to null"
                    )
                text = " ".join(plain(value) for value in values)
                if not text.strip():
                    notes.add("blank text kept", f"{where}, record {record}")
                yield Document(text, plain(given), record, group_text)
