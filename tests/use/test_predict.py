import csv
import gzip
import io
import json
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.conftest import program
from tests.train.fresh_process import forked

from unrolled import load
from unrolled.errors import UserError
from unrolled.use.predict import _refuse, main, reader_for

TEXTS = ["oil prices, higher", 'a "quoted" bank', "", "wheat\nand maize"]
TABLE = [("id", "text"), ("7", "oil prices rose"), ("8", "profit of 5 cts"), ("9", "naïve banks")]


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "in.csv"
    with path.open("w", newline="") as out:
        csv.writer(out).writerows(
            [("id", "text", "predicted", "id"), *((i, text, "x", -i) for i, text in enumerate(TEXTS))]
        )
    return path


def test_columns_and_order_are_kept(trained, table, tmp_path) -> None:
    main([f"run={trained}", f"input={table}", f"output={tmp_path / 'out.csv'}", "--top", "2", "--proba"])
    with (tmp_path / "out.csv").open(newline="") as lines:
        header, *rows = csv.reader(lines)
    model = load(trained)
    proba = model.predict_proba(TEXTS)
    names = ["predicted_", "probability", "predicted_2", "probability_2"]
    assert header == ["id", "text", "predicted", "id", *names, *(f"probability of {name}" for name in model.classes_)]
    assert [row[:4] for row in rows] == [[str(i), text, "x", str(-i)] for i, text in enumerate(TEXTS)]
    assert [row[4] for row in rows] == model.classes_[proba.argmax(axis=1)].tolist()
    np.testing.assert_allclose([[float(p) for p in row[8:]] for row in rows], proba, atol=2e-6)
    assert [float(row[7]) for row in rows] == pytest.approx(np.sort(proba)[:, -2].tolist(), abs=2e-6)


@pytest.mark.parametrize("ending", ["jsonl", "jsonl.gz", "tsv", "txt"])
def test_other_formats_say_the_same(trained, tmp_path, ending) -> None:
    texts = [text.replace("\n", " ") for text in TEXTS]
    content = {
        "jsonl": "".join(json.dumps({"n": [i], "text": text}) + "\n" for i, text in enumerate(texts)),
        "tsv": "text\tn\n" + "".join('"{}"\t{}\n'.format(text.replace('"', '""'), i) for i, text in enumerate(texts)),
        "txt": "".join(text + "\n" for text in texts),
    }[ending.removesuffix(".gz")].encode()
    source, target = tmp_path / f"in.{ending}", tmp_path / "out.jsonl"
    source.write_bytes(gzip.compress(content) if ending.endswith(".gz") else content)
    main([f"run={trained}", f"input={source}", f"output={target}"])
    records = [json.loads(line) for line in target.read_text().splitlines()]
    assert [record["text"] for record in records] == texts
    assert [record["predicted"] for record in records] == load(trained).predict(texts).tolist()


def test_halves_of_characters_come_through(trained, tmp_path) -> None:
    line = '{"text": "oil \\ud83d", "n": 1}\n'
    (tmp_path / "in.jsonl").write_text(line)
    main([f"run={trained}", f"input={tmp_path / 'in.jsonl'}", f"output={tmp_path / 'out.jsonl'}"])
    assert json.loads((tmp_path / "out.jsonl").read_text())["text"] == json.loads(line)["text"]
    done = forked("predict.py", f"run={trained}", "format=jsonl", input=line)
    assert json.loads(done.stdout)["text"] == json.loads(line)["text"], done.stderr


def test_a_gzipped_output_is_gzipped(trained, table, tmp_path) -> None:
    main([f"run={trained}", f"input={table}", f"output={tmp_path / 'plain.csv'}"])
    main([f"run={trained}", f"input={table}", f"output={tmp_path / 'packed.csv.gz'}"])
    assert gzip.decompress((tmp_path / "packed.csv.gz").read_bytes()) == (tmp_path / "plain.csv").read_bytes()


def test_lines_go_through_a_pipe(trained) -> None:
    done = program("predict.py", f"run={trained}", input="oil\nbank\n")
    assert done.returncode == 0, done.stderr
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert [row[0] for row in rows] == load(trained).predict(["oil", "bank"]).tolist()
    assert "2 documents, 2 tokens in" in done.stderr
    done = forked("predict.py", f"run={trained}", "--proba", input="oil\n")
    fields = done.stderr.partition("the fields of each line: ")[2].splitlines()[0].split(", ")
    values = dict(zip(fields, done.stdout.rstrip("\n").split("\t"), strict=True))
    assert values["probability"] == values[f"probability of {values['predicted']}"], "the class that a number is of"
    assert "1 document, 1 token in" in done.stderr


@pytest.mark.parametrize(
    ("content", "arguments", "message"),
    [
        ("", [], "is empty"),
        ("text,n\n", [], "is empty: there is no text"),
        (
            "words,n\na,1\n",
            [],
            r"no column looks like the text \(text_column\); the columns are 'words', 'n'; set text_column",
        ),
        ("words,n\na,1\n", ["text_column=x"], "line 1: there is no column text_column=x; the columns are 'words', 'n'"),
        ("text,n\na\n", [], r"record 1 \(line 2\): it has 1 fields where the header has 2; .* or set delimiter"),
        ("text\na\n", ["--top", "99"], "--top 99: choose from 1 to"),
        ('text,n\n"a,1\nb,2\n', [], r"record 1 \(line 2\) to line 3, column 'text': a quoted field is not closed"),
        ("text,n\na,1\n", ["encoding=klingon"], "^encoding=klingon is not a text encoding"),
        ("text,n\na,1\n", ["delimiter=ab"], "^delimiter must be one character other than a quote, or tab"),
        ("text,n\na,1\n", ["header=maybe"], "header=maybe: must be true or false"),
        ("text,n\na,1\n", ["format=lines", "quoting=false"], "quoting=false: the format lines has no such setting"),
        ("text,n\na,1\n", ["format=lines", "text_column=2"], "text_column=2: plain lines have no columns"),
        ("text,n\na,1\n", ["output_format=parquet"], "output_format=parquet: choose one of csv, tsv, jsonl, lines"),
    ],
)
def test_mistakes_are_user_errors_and_leave_no_output(trained, tmp_path, content, arguments, message) -> None:
    (tmp_path / "in.csv").write_text(content)
    with pytest.raises(UserError, match=message):
        main([f"run={trained}", f"input={tmp_path / 'in.csv'}", f"output={tmp_path / 'out.csv'}", *arguments])
    assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]


@pytest.mark.parametrize("key", ["input", "output"])
def test_a_directory_is_named_as_one(tmp_path, key) -> None:
    (tmp_path / "in.csv").write_text("text\na\n")
    given = {"input": tmp_path / "in.csv", "output": tmp_path / "out.csv", key: tmp_path}
    with pytest.raises(UserError, match=f"^{key}={tmp_path} is a directory, not a file; give a file"):
        main(["run=none", *(f"{name}={path}" for name, path in given.items())])


def test_bad_json_names_its_line(trained, tmp_path) -> None:
    (tmp_path / "in.jsonl").write_text('{"text": "a"}\n["b"]\n')
    with pytest.raises(UserError, match=r"record 2 \(line 2\): it is a list; each line must be an object"):
        main([f"run={trained}", f"input={tmp_path / 'in.jsonl'}", f"output={tmp_path / 'o.jsonl'}"])


@pytest.mark.parametrize(
    ("ending", "content"), [("txt", "{}\n"), ("csv", "text,n\n{},1\n"), ("jsonl", '{{"text": "{}"}}\n')]
)
def test_bytes_that_are_not_utf8_are_named_with_their_place_and_read_when_the_encoding_is(
    trained, tmp_path, ending, content
) -> None:
    source, target = tmp_path / f"in.{ending}", tmp_path / "o.jsonl"
    source.write_bytes(content.format("caf\xe9").encode("cp1252"))
    with pytest.raises(
        UserError, match=r"record 1 \(line \d\).*: the bytes e9 are not UTF-8; set encoding to the file's"
    ):
        main([f"run={trained}", f"input={source}", f"output={target}"])
    assert not target.exists()
    main([f"run={trained}", f"input={source}", f"output={target}", "encoding=cp1252"])
    assert json.loads(target.read_text())["text"] == "caf\xe9"


def written(table: list[tuple[str, ...]], **style: Any) -> str:
    out = io.StringIO(newline="")
    csv.writer(out, **style).writerows(table)
    return out.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "arguments"),
    [
        ("in.csv", written(TABLE, delimiter=";").encode("utf-16"), []),
        ("in.csv", written(TABLE, delimiter="|").encode("utf-8-sig"), []),
        ("in.csv", written(TABLE, lineterminator="\r").encode(), []),
        ("in.tsv", written(TABLE, delimiter="\t").encode("utf-32"), []),
        ("in.csv", written(TABLE, delimiter="^").encode(), ["delimiter=^"]),
        ("in.csv", written(TABLE[1:]).encode(), ["header=false", "text_column=2"]),
        ("in.csv", written([row[1:] for row in TABLE]).encode(), []),
        ("in.csv", written(TABLE, quoting=csv.QUOTE_NONE, quotechar=None, escapechar="\\").encode(), ["quoting=false"]),
        ("data.gz", gzip.compress(written(TABLE).encode(), mtime=0), ["format=csv"]),
    ],
)
def test_tables_are_read_as_in_training(trained, tmp_path, name, content, arguments) -> None:
    """The oracle is the table that was written, by the csv module."""
    (tmp_path / name).write_bytes(content)
    main([f"run={trained}", f"input={tmp_path / name}", f"output={tmp_path / 'out.jsonl'}", *arguments])
    records = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    texts = [text for _, text in TABLE[1:]]
    assert [record["2" if "header=false" in arguments else "text"] for record in records] == texts
    assert [record["predicted"] for record in records] == load(trained).predict(texts).tolist()


def test_parquet_is_read_and_standard_input_in_every_other_format(trained, tmp_path) -> None:
    texts = [text for _, text in TABLE[1:]]
    expected = load(trained).predict(texts).tolist()
    pq.write_table(pa.table({"n": [[i] for i in range(len(texts))], "text": texts}), tmp_path / "in.parquet")
    main([f"run={trained}", f"input={tmp_path / 'in.parquet'}", f"output={tmp_path / 'out.jsonl'}"])
    records = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [(record["n"], record["text"], record["predicted"]) for record in records] == [
        ([i], text, label) for i, (text, label) in enumerate(zip(texts, expected, strict=True))
    ]
    done = forked("predict.py", f"run={trained}", "format=csv", input=written(TABLE, delimiter=";"))
    assert [row[-2] for row in csv.reader(io.StringIO(done.stdout))] == ["predicted", *expected], done.stderr
    done = forked("predict.py", f"run={trained}", "format=csv", input="text,n\na\n")
    assert done.returncode != 0
    assert "standard input, record 1 (line 2): it has 1 fields where the header has 2" in done.stderr
    done = forked("predict.py", f"run={trained}", "format=parquet", "output_format=csv", input="x")
    assert "a Parquet file cannot be read from standard input" in done.stderr


@pytest.mark.parametrize(
    "arguments", [["--help"], ["run=nowhere", "inptu=a.csv"], ["run=nowhere", "input=nowhere.csv"]]
)
def test_help_and_refusals_need_no_torch(arguments) -> None:
    code = f"""import sys
from unrolled.errors import UserError
from unrolled.use.predict import main
try:
    main({arguments!r})
except (UserError, SystemExit):
    print("torch" in sys.modules)"""
    done = program("-c", code)
    assert done.stdout.splitlines()[-1:] == ["False"], done.stderr


def test_help_lists_every_key(capsys) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    assert end.value.code == 0
    out = capsys.readouterr().out
    assert out.startswith("usage: predict.py")
    assert all(f"{key}=" in out for key in ("run", "input", "output", "text_column", "checkpoint"))


def test_the_columns_of_the_training_are_read_and_joined_as_in_training(tmp_path) -> None:
    rows = [("oil prices" if i % 2 else "a bank", "rise" if i % 2 else "fails", "x y z", i % 2) for i in range(60)]
    with (tmp_path / "in.csv").open("w", newline="") as out:
        csv.writer(out).writerows([("Title", "rest", "text", "label"), *rows])
    sizes = ("model=gru", "model.hidden_size=4", "embedding.embedding_dim=4", "threads=1", "trainer.max_epochs=1")
    data = ("data=csv", f"data.train={tmp_path / 'in.csv'}", "data.text_column=[Title,rest]")
    done = forked("train.py", *data, *sizes, "callbacks.progress_bar=null", f"output_dir={tmp_path / 'runs'}")
    assert done.returncode == 0, done.stderr
    assert "━━━ " not in done.stdout, "a bar that nobody asked for"
    assert "v_num" not in done.stdout
    run = tmp_path / "runs" / "latest"
    model = load(run)
    proba = model.predict_proba([f"{title} {rest}" for title, rest, _, _ in rows])
    for source, content in {
        "again.csv": (tmp_path / "in.csv").read_text(),
        "again.jsonl": "".join(json.dumps({"Title": t, "rest": r, "text": x}) + "\n" for t, r, x, _ in rows),
    }.items():
        (tmp_path / source).write_text(content)
        main([f"run={run}", f"input={tmp_path / source}", f"output={tmp_path / 'out.jsonl'}", "--proba"])
        records = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
        names = [f"probability of {name}" for name in model.classes_]
        np.testing.assert_allclose([[float(record[name]) for name in names] for record in records], proba, atol=2e-6)
    main(
        [
            f"run={run}",
            f"input={tmp_path / 'again.csv'}",
            f"output={tmp_path / 'o.jsonl'}",
            "text_column=text",
            "--proba",
        ]
    )
    other = [json.loads(line) for line in (tmp_path / "o.jsonl").read_text().splitlines()]
    np.testing.assert_allclose(
        [float(record[names[0]]) for record in other], [model.predict_proba(["x y z"])[0, 0]] * len(rows), atol=2e-6
    )


def test_a_column_that_the_run_knows_by_number_is_found_again(tmp_path) -> None:
    rows = [("x y z", "oil prices" if i % 2 else "a bank", i % 2) for i in range(60)]
    with (tmp_path / "in.csv").open("w", newline="") as out:
        csv.writer(out).writerows([("nothing", "said", "kind"), *rows])
    sizes = ("model=gru", "model.hidden_size=4", "embedding.embedding_dim=4", "threads=1", "trainer.max_epochs=1")
    data = ("data=csv", f"data.train={tmp_path / 'in.csv'}", "data.text_column=2", "data.label_column=3")
    done = forked("train.py", *data, *sizes, f"output_dir={tmp_path / 'runs'}")
    assert done.returncode == 0, done.stderr
    run = tmp_path / "runs" / "latest"
    main([f"run={run}", f"input={tmp_path / 'in.csv'}", f"output={tmp_path / 'out.jsonl'}"])
    records = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [record["predicted"] for record in records] == load(run).predict([text for _, text, _ in rows]).tolist()


CSV = {"_target_": "unrolled.data.sources.files.CsvFiles", "text_column": None, "label_column": None}


@pytest.mark.parametrize(
    ("trained_on", "file_in", "said"),
    [
        ("latin-1", "latin-1", ""),
        ("latin-1", "utf-8", "latin-1"),
        ("utf-16", "utf-8", "utf-16"),
        ("utf-8", "utf-8", ""),
    ],
)
def test_a_file_that_plainly_is_utf8_is_read_so_and_the_other_way_is_said(
    tmp_path, capsys, trained_on, file_in, said
) -> None:
    (file := tmp_path / "in.csv").write_text("text,n\ncaf\xe9,1\n", encoding=file_in)
    own = {**CSV, "encoding": trained_on}

    def texts(**given: str) -> list[str]:
        return [row.texts[0] for row in reader_for("csv", file, own, given).rows(file, _refuse)]

    assert texts() == ["caf\xe9"]
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == bool(said)
    if said:
        assert "in.csv is read as utf-8, though the run's own are in " + said in lines[0]
        assert lines[0].endswith(f"; encoding={said} reads it as {said}")
    if said == "latin-1":
        assert texts(encoding="latin-1") == ["caf\xc3\xa9"], "as it was asked for"
        assert not capsys.readouterr().err


def test_columns_that_the_run_knows_by_numbers_are_those_of_a_file_of_its_format(tmp_path) -> None:
    (tmp_path / "in.csv").write_text("a,text,body\n1,2,3\n")
    (tmp_path / "in.jsonl").write_text('{"a": "1", "text": "2", "body": "3"}\n')
    own = {**CSV, "text_column": [1, "body"]}
    for form, texts in (("csv", ["1", "3"]), ("jsonl", ["2"])):
        file = tmp_path / f"in.{form}"
        assert [row.texts for row in reader_for(form, file, own, {}).rows(file, _refuse)] == [texts]


def test_what_the_model_knows_nothing_of_is_counted(trained, tmp_path, capsys) -> None:
    (tmp_path / "in.txt").write_text("oil prices\n\n \nqqqq zzzzq\nqqqq oil\n")
    main([f"run={trained}", f"input={tmp_path / 'in.txt'}", f"output={tmp_path / 'out.txt'}"])
    warnings = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning")]
    assert warnings == ["warning: documents whose class is a guess: 2 without a word, 1 with unknown words alone"]
    (tmp_path / "in.txt").write_text("oil prices\n")
    main([f"run={trained}", f"input={tmp_path / 'in.txt'}", f"output={tmp_path / 'out.txt'}"])
    assert "guess" not in capsys.readouterr().err


def test_the_input_is_not_overwritten(trained, table) -> None:
    before = table.read_bytes()
    with pytest.raises(UserError, match="is the input itself"):
        main([f"run={trained}", f"input={table}", f"output={table}"])
    assert table.read_bytes() == before
