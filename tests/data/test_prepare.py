from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from unrolled.arguments import typed_values
from unrolled.data.config import DataConfig, TextConfig, data_config
from unrolled.data.prepare import PreparedData, prepare
from unrolled.data.sources.files import CsvFiles
from unrolled.data.sources.source import Document, Notes, Source
from unrolled.data.summary import summary_table
from unrolled.errors import UserError

CSV = "unrolled.data.sources.files.CsvFiles"


class Numbers(Source):
    """Documents "n0 n0 ..." of as many tokens as asked for, in classes that go round: a source as anyone may add it."""

    name = "numbers"

    def __init__(self, train: int, test: int = 0, classes: int = 3, extra: list[list[str]] | None = None) -> None:
        self.sizes = {"train": train, "test": test}
        self.classes = classes
        self.extra = extra or []

    def splits(self) -> tuple[str, ...]:
        return ("train", "test") if self.sizes["test"] else ("train",)

    def fingerprint(self) -> dict[str, Any]:
        return {"sizes": self.sizes, "classes": self.classes, "extra": self.extra}

    def documents(self, split: str, notes: Notes) -> Iterator[Document]:
        for number in range(self.sizes[split]):
            yield Document(f"{split}{number} " + "the word " * (number % 5), f"class {number % self.classes}")
        if split == "test" or self.sizes["test"] == 0:
            for text, label in self.extra:
                yield Document(text, label)


def run(tmp_path: Path, seed: int = 0, text: TextConfig | None = None, **keys: Any) -> PreparedData:
    own = {"_target_": f"{__name__}.Numbers", "train": 60}
    return prepare(data_config(**(own | keys)), text or TextConfig(), seed, tmp_path)


def test_what_is_not_given_is_split_off_in_the_shares_asked_for(tmp_path: Path) -> None:
    data = run(tmp_path, valid_share=0.25, test_share=0.2)
    assert [len(data.train), len(data.valid), len(data.test)] == [36, 12, 12]
    assert sorted([*data.train.ids, *data.valid.ids, *data.test.ids]) == list(range(1, 61))
    assert data.labels == ["class 0", "class 1", "class 2"]
    assert data.class_counts.tolist() == [12, 12, 12]
    for part in (data.train, data.valid, data.test):
        assert (part.labels == (part.ids - 1) % 3).all(), "a label stays with its document"
        known = [word for index in range(len(part)) for word in part.document(index)]
        assert max(known) < len(data.vocabulary)


def test_the_seed_moves_validation_but_never_test(tmp_path: Path) -> None:
    zero, one = run(tmp_path, seed=0), run(tmp_path, seed=1)
    assert zero.test.ids.tolist() == one.test.ids.tolist()
    assert zero.valid.ids.tolist() != one.valid.ids.tolist()


def test_the_vocabulary_knows_training_documents_only(tmp_path: Path) -> None:
    data = run(tmp_path, test=9)
    words = set(data.vocabulary.tokens[2:])
    assert words == {"the", "word", *(f"train{record - 1}" for record in data.train.ids)}
    assert data.test.document(0)[0] == 1
    assert data.vocabulary.tokens[2:4] == ["the", "word"]


def test_folds_test_on_every_training_document_once_and_leave_the_given_test_set_alone(tmp_path: Path) -> None:
    parts = [run(tmp_path, seed=fold, fold=fold, folds=4, test=9) for fold in range(4)]
    assert sorted(index for part in parts for index in part.test.ids) == list(range(1, 61))
    for part in parts:
        assert sorted([*part.train.ids, *part.valid.ids, *part.test.ids]) == list(range(1, 61))
        assert part.test.tokens is not None
        assert "test8" not in part.vocabulary


def test_a_limit_holds_for_each_split_and_keeps_the_classes(tmp_path: Path) -> None:
    data = run(tmp_path, test=30, limit=5)
    assert [len(part) for part in (data.train, data.valid, data.test)] == [5, 5, 5]
    assert set(data.train.labels) == {0, 1, 2}
    with pytest.raises(UserError, match=r"data\.limit=2 would keep fewer documents than numbers has classes \(3\)"):
        run(tmp_path, limit=2)


def test_cutting_spares_validation_and_test_if_asked_to(tmp_path: Path) -> None:
    both = run(tmp_path, max_tokens=2)
    train_only = run(tmp_path, max_tokens=2, cut_test=False)
    assert max(both.train.lengths) == max(both.test.lengths) == max(train_only.train.lengths) == 2
    assert max(train_only.test.lengths) == 9
    whole = run(tmp_path).train
    shares = both.summary["splits"]["train"]["cut_share"]
    assert shares == pytest.approx(1 - np.minimum(whole.lengths, 2).sum() / whole.lengths.sum())


def test_the_summary_is_plain_and_shows_as_a_table(tmp_path: Path) -> None:
    extra = [["", "class 0"], ["same text", "class 1"], ['  TRAIN0 "', "class 0"]]
    data = run(tmp_path, test=9, extra=extra)
    assert json.loads(json.dumps(data.summary)) == data.summary
    test = data.summary["splits"]["test"]
    assert test["documents"] == 12
    assert test["empty"] == 1
    assert test["classes"] == {"class 0": 5, "class 1": 4, "class 2": 3}
    known = sum(int((data.test.document(index) != 1).sum()) for index in range(12))
    assert test["unknown_share"] == pytest.approx(1 - known / test["tokens"])
    assert any(
        "1 of 12 texts of test also occur in train, token for token" in warning for warning in data.summary["warnings"]
    )
    assert any("1 of 12 documents of test have no tokens" in warning for warning in data.summary["warnings"])
    console = Console(width=100, record=True, file=(tmp_path / "out").open("w"))
    console.print(summary_table(data.summary))
    shown = console.export_text()
    assert "class 2" in shown
    assert "unknown tokens" in shown
    assert re.search(r"also in train *│ +│ +0 │ +1 │\n", shown)
    assert [figures["in_train"] for figures in data.summary["splits"].values()] == [None, 0, 1]


def test_unknown_tokens_imbalance_duplicates_and_a_text_without_spaces_are_warned_of(tmp_path: Path) -> None:
    def warnings(text: TextConfig | None = None, **keys: Any) -> str:
        return "\n".join(run(tmp_path, text=text, **keys).summary["warnings"])

    assert "tokens of train are unknown; raise text.max_size" in warnings(TextConfig(max_size=3))
    rare = [[f"rare{number}", "rare"] for number in range(2)]
    assert "documents of 'class 0' and 2 of 'rare'; look at macro F1" in warnings(train=200, extra=rare)
    assert "texts of train occur more than once" in warnings(extra=[["twice", "class 0"]] * 6)
    chinese = [["春眠不觉晓处处闻啼鸟" * 9 + str(number), "class 0"] for number in range(40)]
    assert "text=words does not fit, choose text=characters" in warnings(extra=chinese)
    assert "does not fit" not in warnings(TextConfig(kind="characters"), extra=chinese)
    assert warnings() == ""


def test_one_document_that_takes_much_of_an_epoch_is_warned_of_with_its_place(tmp_path: Path) -> None:
    def said(tokens: int) -> list[str]:
        data = run(tmp_path, extra=[["word " * tokens, "class 0"]], valid_share=0.02, test_share=0.02)
        assert data.train.lengths.max() == tokens
        return [warning for warning in data.summary["warnings"] if "one document" in warning]

    (warning,) = said(30_000)
    assert warning.startswith("one document of train (record 61 of its file) has 30,000 tokens, ")
    assert warning.endswith("% of an epoch's; data.max_tokens=3000 truncates it")
    assert int(warning.split("tokens, ")[1].split(" %")[0].rstrip("%").split("%")[0]) >= 98
    assert said(3_000) == []  # a second of training


def test_many_classes_that_look_like_measured_numbers_are_warned_of(tmp_path: Path) -> None:
    def said(unit: str) -> bool:
        extra = [["some text", f"{number // 3}.5{unit}"] for number in range(60)]
        warnings = run(tmp_path, train=0, extra=extra).summary["warnings"]
        return any("the 20 classes look like measured numbers, such as" in each for each in warnings)

    assert said("")
    assert not said(" kg")


def test_labels_that_differ_by_blanks_only_are_warned_of_with_their_counts(tmp_path: Path) -> None:
    extra = [["some text", " class 1"], ["other text", "class 1\t"], ["third", "class 1 b"]] * 9
    (warning,) = (each for each in run(tmp_path, extra=extra).summary["warnings"] if "blanks" in each)
    named = re.findall(r"('[^']*') \((\d+) documents of train\)", warning)
    counts = run(tmp_path, extra=extra).summary["splits"]["train"]["classes"]
    assert {ast.literal_eval(name): int(count) for name, count in named} == {
        name: counts[name] for name in (" class 1", "class 1", "class 1\t")
    }


def test_documents_are_numbered_as_the_records_of_their_file_are(tmp_path: Path) -> None:
    """The oracle is the text itself, which tells in which row of the table it stands."""
    rows = [f"text of {number},{number % 2}" if number % 7 else (" ,1" if number % 2 else "lost,")
            for number in range(1, 100)]  # fmt: skip
    (tmp_path / "in.csv").write_text("\n\ntext,label\n" + "\n\n".join(rows) + "\n")
    source = CsvFiles(str(tmp_path / "in.csv"), empty="drop", bad_rows="drop")
    keys = {"train": str(tmp_path / "in.csv"), "empty": "drop", "bad_rows": "drop"}
    data = prepare(data_config(_target_=CSV, **keys), TextConfig(), 0, tmp_path / "cache")
    parts = (data.train, data.valid, data.test)
    numbers = sorted(number for part in parts for number in part.ids.tolist())
    assert numbers == [number for number in range(1, 100) if number % 7]
    texts = {document.record: document.text for document in source.documents("train", Notes())}
    assert texts == {number: f"text of {number}" for number in numbers}
    for part in parts:
        for index, number in enumerate(part.ids.tolist()):
            known = data.vocabulary.tokens[part.document(index)[-1]]
            assert known in (str(number), "<unk>")
    notes = Notes()
    list(source.documents("train", notes))
    assert [note["first"].rpartition(", ")[2] for note in notes.as_dict().values()] == [
        "record 7 (line 16)",
        "record 14 (line 30)",
    ]


def test_a_source_numbers_its_documents_in_order_or_not_at_all(
    tmp_path: Path, list_source: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Backwards(list_source):  # type: ignore[misc,valid-type]
        def documents(self, split: str, notes: Notes) -> Iterator[Document]:
            for number, document in enumerate(super().documents(split, notes)):
                yield document._replace(record=9 - number)

    monkeypatch.setattr("unrolled.data.prepare.build_source", lambda keys: Backwards(train=[("a", "x"), ("b", "y")]))
    with pytest.raises(UserError, match="train of lists: record 8 comes after record 9; Backwards must give"):
        prepare(data_config(), TextConfig(), 0, tmp_path)


def threads(count: int) -> list[tuple[str, str, str]]:
    """(text, class, thread) of ``count`` documents, four in a thread, every ninth in none; a text tells its thread."""
    rows = []
    for number in range(count):
        thread = "" if number % 9 == 0 else f"t{number // 4}"
        rows.append((f"{thread or 'alone'} {number}", f"class {number % 2}", thread))
    return rows


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("keys", [{}, {"fold": 1, "folds": 3}])
@pytest.mark.parametrize("text", ["words", "bpe"])
def test_no_group_stands_on_two_sides_of_a_split(tmp_path: Path, kind: str, keys: dict[str, int], text: str) -> None:
    rows = threads(120)
    columns = dict(zip(("text", "label", "thread"), zip(*rows, strict=True), strict=True))
    file = tmp_path / f"in.{kind}"
    if kind == "csv":
        file.write_text("text,label,thread\n" + "".join(",".join(row) + "\n" for row in rows))
    elif kind == "jsonl":
        file.write_text("".join(json.dumps(dict(zip(columns, row, strict=True))) + "\n" for row in rows))
    else:
        pq.write_table(pa.table(columns), file)
    target = {"csv": "files.CsvFiles", "jsonl": "files.JsonlFiles", "parquet": "files.ParquetFiles"}[kind]
    source = {"_target_": f"unrolled.data.sources.{target}", "train": str(file), "group_column": "thread"}
    texts = TextConfig(kind=text, max_size=None if text == "words" else 60)
    data = prepare(data_config(**source, **keys), texts, 0, tmp_path / "cache")
    parts = {name: getattr(data, name).ids for name in ("train", "valid", "test")}
    assert sorted(number for ids in parts.values() for number in ids) == list(range(1, 121))
    sides = {name: {rows[number - 1][2] for number in ids} - {""} for name, ids in parts.items()}
    assert not sides["train"] & sides["valid"]
    assert not sides["train"] & sides["test"]
    assert not sides["valid"] & sides["test"]
    assert all(sides.values())
    assert not any("groups" in warning for warning in data.summary["warnings"])


def test_groups_that_stand_in_given_splits_too_are_warned_of(tmp_path: Path) -> None:
    rows = threads(120)
    for name, part in (("train", rows[:90]), ("test", rows[86:])):
        lines = "".join(",".join(row) + "\n" for row in part)
        (tmp_path / f"{name}.csv").write_text("text,label,thread\n" + lines)
    keys = {split: str(tmp_path / f"{split}.csv") for split in ("train", "test")}
    data = prepare(data_config(_target_=CSV, **keys, group_column=3, valid_share=0.2), TextConfig(), 0, tmp_path / "c")
    known = {rows[number - 1][2] for number in data.train.ids} - {""}
    shared = sum(row[2] in known for row in rows[86:])
    assert shared > 0
    said = f"{shared} of 34 documents of test are of groups that also occur in train"
    assert any(said in warning for warning in data.summary["warnings"])
    with pytest.raises(UserError, match=r"data\.valid_part=first: whole groups .* leave it at random"):
        prepare(data_config(_target_=CSV, **keys, group_column=3, valid_part="first"), TextConfig(), 0, tmp_path / "c")
    with pytest.raises(UserError, match=r"there is no column data\.group_column=author; the columns are 'text'"):
        prepare(data_config(_target_=CSV, **keys, group_column="author"), TextConfig(), 0, tmp_path / "c")


@pytest.mark.parametrize("part", ["first", "last"])
def test_validation_may_be_the_first_or_last_documents_of_the_file(tmp_path: Path, part: str) -> None:
    data = run(tmp_path, test=9, valid_part=part, valid_share=0.2)
    expected = range(1, 13) if part == "first" else range(49, 61)
    assert data.valid.ids.tolist() == list(expected), "classes go round in the file, so their shares lie together"
    assert run(tmp_path, seed=5, test=9, valid_part=part, valid_share=0.2).valid.ids.tolist() == list(expected)


def test_what_no_classifier_can_learn_from_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has a single class, 'class 0'"):
        run(tmp_path, classes=1)
    with pytest.raises(UserError, match="train of numbers holds no documents"):
        run(tmp_path, train=0)
    with pytest.raises(UserError, match="train of numbers has 3 documents for 3 classes"):
        run(tmp_path, train=3)
    with pytest.raises(UserError, match=r"class 'new' occurs in test .* \(first in record 10\) but never in train"):
        run(tmp_path, test=9, extra=[["x", "new"]])
    with pytest.raises(UserError, match=r"measured numbers, such as .* 40 .* in 41 documents; set data\.label_column"):
        run(tmp_path, train=0, extra=[["x", f"{number % 40}.5"] for number in range(41)])
    assert len(run(tmp_path, train=0, extra=[["x", str(number % 10)] for number in range(18)]).labels) == 10
    with pytest.raises(UserError, match="too few documents: none is left for valid"):
        run(tmp_path, train=5)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"valid_share": 0.0}, r"data\.valid_share=0\.0: must be between 0 and 1"),
        ({"test_share": 1.5}, r"data\.test_share=1\.5: must be between 0 and 1"),
        ({"limit": 0}, r"data\.limit=0: must be at least 1 or null"),
        ({"max_tokens": -1}, r"data\.max_tokens=-1: must be at least 1 or null"),
        ({"fold": 5}, r"data\.fold must lie between 0 and data\.folds - 1 = 4, .* got 5"),
        ({"folds": 1}, r"data\.folds=1: must be at least 2"),
        ({"folds": 3}, r"data\.folds=3: there are no folds without data\.fold; set that to a number from 0 to 2"),
        ({"valid_part": "middle"}, r"data\.valid_part=middle: must be one of random, first, last"),
        ({"cut": "middle"}, r"data\.cut=middle: must be one of head, tail, head\+tail"),
    ],
)
def test_a_wrong_key_is_named_with_its_value_and_rule(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        data_config(corpus="newsgroups", **typed_values("data", DataConfig, keys))


def test_a_wrong_text_key_is_named_with_its_value_and_rule() -> None:
    with pytest.raises(UserError, match=r"text\.max_size=2: must be at least 3 \(<pad>, <unk> and one token\) or null"):
        typed_values("text", TextConfig, {"max_size": 2})
    with pytest.raises(UserError, match=r"text\.min_count=0: must be at least 1"):
        typed_values("text", TextConfig, {"min_count": 0})


def test_names_of_classes_are_shown_as_they_are_and_not_read_as_markup(tmp_path: Path) -> None:
    data = run(tmp_path, extra=[["some text", "[red]a[/red]"]] * 9)
    console = Console(width=100, record=True, file=(tmp_path / "out").open("w"))
    console.print(summary_table(data.summary))
    assert "class [red]a[/red]" in console.export_text()
