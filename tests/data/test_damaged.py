"""Damaged inputs, through the command line: a clear error, or a counted and reported skip; never a traceback, never
a silent loss, never a raw id in what is printed or written."""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from simstudent.cli import main

RAW = "jdoe42"
ROW = {"student": RAW, "assignment": "a", "code": "print(1)", "time": "2025-01-02T10:00:00", "grade": 1.0}
GOOD = [ROW, {**ROW, "code": "print(2)", "time": "2025-01-02T11:00:00"}]
COLUMNS = {"time": "time", "grade": "grade"}


@dataclass(frozen=True)
class Case:
    """A log, and what is to be said of it. ``kept``: submissions of the dataset; None: it is an error."""

    name: str
    make: bytes | Callable[[Path], object]
    says: str
    file: str = "log.jsonl"
    where: str = ""
    kept: int | None = None
    skipped: int = 0
    on_bad_row: str = "stop"
    columns: dict[str, Any] = field(default_factory=lambda: dict(COLUMNS))
    source: dict[str, Any] = field(default_factory=dict)


def lines(*rows: Any) -> bytes:
    return b"".join((r if isinstance(r, bytes) else json.dumps(r).encode()) + b"\n" for r in rows)


def bad(name: str, row: Any, says: str, **more: Any) -> list[Case]:
    """A broken row between two good ones: an error that names it, and a skip that is counted."""
    content = lines(GOOD[0], row, GOOD[1])
    return [
        Case(name, content, says, where="log.jsonl, line 2: ", **more),
        Case(
            f"{name}, skipped", content, says, where="log.jsonl, line 2: ", kept=2, skipped=1, on_bad_row="skip", **more
        ),
    ]


def parquet(*rows: dict[str, Any], schema: Any = None, **options: Any) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), out, **options)
    return out.getvalue()


def table(names: list[str], columns: list[Any]) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table(columns, names=names), out)
    return out.getvalue()


def typed(name: str, kind: Any, *values: Any) -> bytes:
    """The good rows, one column being of another type."""
    names = [n for n in ROW if n != name]
    rest = [pa.array([row[n] for row in GOOD]) for n in names]
    return table([*names, name], [*rest, pa.array(list(values) or [r[name] for r in GOOD], kind)])


def folder_of(**made: bytes | None) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        path.mkdir()
        for name, content in made.items():
            there = path / name.replace("__", ".")
            there.mkdir() if content is None else there.write_bytes(content)

    return make


HEAD = b"student,assignment,code,time,grade\n"
CSV_ROW = f"{RAW},a,print(1),2025-01-02,1\n".encode()
NAN = float("nan")
T = datetime(2025, 1, 2, 10, tzinfo=UTC)

ROWS = [
    *bad("cut off JSON", b'{"student": "jdoe42", "code": "x', "not valid JSON"),
    *bad("duplicate key", b'{"student": "jdoe42", "student": "x", "assignment": "a"}', "a key stands twice"),
    *bad("duplicate key in a nested object", b'{"student": {"jdoe42": 1, "jdoe42": 2}}', "a key stands twice"),
    *bad("an array in a line", [1, 2], "not a JSON object but list"),
    *bad("a bare string", b'"jdoe42"', "not a JSON object but str"),
    *bad("deep nesting", b"[" * 50_000, "nested too deeply"),
    *bad("a number of 5,000 digits", b'{"grade": ' + b"9" * 5000 + b"}", "a number of thousands of digits"),
    *bad("latin-1 among UTF-8", '{"student": "jdoe42", "code": "é"}'.encode("latin-1"), "not UTF-8 text"),
    *bad("a missing column", {k: v for k, v in ROW.items() if k != "code"}, "no column 'code'"),
    *bad("an empty id", {**ROW, "student": ""}, "'student' is missing"),
    *bad("a blank id", {**ROW, "student": " \t"}, "'student' is empty"),
    *bad("a null id", {**ROW, "student": None}, "'student' is missing"),
    *bad("a NaN id", {**ROW, "student": NAN}, "'student' is missing"),
    *bad("an id of a megabyte", {**ROW, "student": RAW * 200_000}, "more than an id has"),
    *bad("an id with a NUL", {**ROW, "student": "jdoe42\0"}, "'student' holds NUL bytes"),
    *bad("a list as id", {**ROW, "student": [RAW]}, "'student' should be text, not list"),
    *bad("a Boolean id", {**ROW, "student": True}, "'student' should be text, not bool"),
    *bad("code nested", {**ROW, "code": {"main.py": "x"}}, "'code' should be text, not dict"),
    *bad("code with NUL", {**ROW, "code": "a\0b"}, "'code' holds NUL bytes"),
    *bad("half a character in code", {**ROW, "code": "\ud83d"}, "'code' holds half a character"),
    *bad("half a character in an id", {**ROW, "student": "jdoe42\ud83d"}, "'student' holds half a character"),
    *bad("null code", {**ROW, "code": None}, "'code' is missing"),
    *bad("NaN grade", {**ROW, "grade": NAN}, "'grade' is not a finite number"),
    *bad("infinite grade", {**ROW, "grade": float("inf")}, "'grade' is not a finite number"),
    *bad(
        "grade of 400 digits",
        b'{"student":"s","assignment":"a","code":"","time":"2025-01-01","grade":1' + b"0" * 400 + b"}",
        "'grade' should be a number",
    ),
    *bad("negative grade", {**ROW, "grade": -0.5}, "'grade' is outside 0 to 1"),
    *bad("percent grade", {**ROW, "grade": 80}, "'grade' is outside 0 to 1"),
    *bad("grade in words", {**ROW, "grade": "jdoe42"}, "'grade' should be a number, but is text like 'aaaa99'"),
    *bad("a list of grades", {**ROW, "grade": [1]}, "'grade' should be a number"),
    *bad(
        "Boolean grade of 100",
        {**ROW, "grade": True},
        "'grade' should be a number, not true or false",
        columns={**COLUMNS, "grade_max": 100},
    ),
    *bad("German date", {**ROW, "time": "02.01.2025 10:00"}, "text like '99.99.9999 99:99'"),
    *bad("time column that holds names", {**ROW, "time": RAW}, "'time' is not a time in ISO 8601"),
    *bad("a time of 14 digits", {**ROW, "time": 20250102100000}, "'time' would be after the year 2200"),
    *bad("no time", {**ROW, "time": None}, "'time' is missing"),
    *bad("order in words", {**ROW, "grade": RAW}, "'grade' should be a number", columns={"order": "grade"}),
]

FILES = [
    Case("empty file", b"", "the file is empty"),
    Case("blank file", b"\n\n \n", "no usable submission"),
    Case("all rows broken, skipped", lines({}, {}), "skipped 2 broken rows", on_bad_row="skip"),
    Case("UTF-16 with BOM", lines(*GOOD).decode().encode("utf-16"), "UTF-16"),
    Case("UTF-16 without BOM", lines(*GOOD).decode().encode("utf-16-le"), "UTF-16"),
    Case("gzip named jsonl", b"\x1f\x8b\x08\0abc", "compressed with gzip"),
    Case("Parquet named jsonl", parquet(*GOOD), "a Parquet file: name it .parquet"),
    Case("zip named csv", b"PK\x03\x04abc", "a zip archive", "log.csv"),
    Case("JSON array", json.dumps(GOOD, indent=1).encode(), "a JSON array, not one object a line"),
    Case("UTF-8 BOM", b"\xef\xbb\xbf" + lines(*GOOD), "2 submissions", kept=2),
    Case("BOM of a CSV file", b"\xef\xbb\xbf" + HEAD + CSV_ROW, "1 submissions", "log.csv", kept=1),
    Case("no newline at the end", lines(*GOOD)[:-1], "2 submissions", kept=2),
    Case("Windows line ends", lines(*GOOD).replace(b"\n", b"\r\n"), "2 submissions", kept=2),
    Case("a program of 10 MB", lines({**ROW, "code": "x = 1\n" * 1_750_000}), "1 submissions", kept=1),
    Case("numbers as ids", lines({**ROW, "student": 7}, {**ROW, "student": 7.0}), "1 trajectories, 2", kept=2),
    Case("an id of several lines", lines({**ROW, "student": "jdoe42\n/../x"}), "1 submissions", kept=1),
    Case("Boolean grade of 1", lines({**ROW, "grade": True}), "1 submissions", kept=1),
    Case("times out of order", lines(*reversed(GOOD)), "2 submissions", kept=2),
    Case(
        "time zones among local times",
        lines(ROW, {**ROW, "time": "2025-01-02T10:00:00+02:00"}),
        "log.jsonl, line 1 (and 1 more rows of that trajectory): some of its times have a time zone",
    ),
    Case(
        "time zones among local times, skipped",
        lines(ROW, {**ROW, "time": "2025-01-02T10:00:00+02:00"}, {**ROW, "assignment": "b"}),
        "2 left out: some of its times",
        kept=1,
        skipped=2,
        on_bad_row="skip",
    ),
    Case(
        "CSV of latin-1",
        HEAD + "s,a,é,2025-01-01,1\n".encode("latin-1"),
        "not UTF-8 text, at line 1 or after",
        "log.csv",
    ),
    Case("CSV with only a header", HEAD, "no usable submission", "log.csv"),
    Case("CSV without header", CSV_ROW * 2, "its first line is no header", "log.csv"),
    Case("CSV with an empty column name", b",student\n1,x\n", "its first line is no header", "log.csv"),
    Case("column named twice", b"student,student,code\nx,y,z\n", "names 'student' twice", "log.csv"),
    Case("semicolons", (HEAD + CSV_ROW).replace(b",", b";"), "no column 'student'", "log.csv"),
    Case("wrong delimiter set", HEAD + CSV_ROW, "no column 'student'", "log.csv", source={"delimiter": "|"}),
    Case(
        "quote never closed", HEAD + b's,a,"print(1),2025-01-01,1\n' + CSV_ROW, "row that begins in line 2", "log.csv"
    ),
    Case("text after a quote", HEAD + CSV_ROW + b's,a,"x"y,2025,1\n', "row that begins in line 3", "log.csv"),
    Case("ragged row", HEAD + CSV_ROW + b"s,a\n", "log.csv, line 3: 2 columns, not 5 as in the header", "log.csv"),
    Case(
        "ragged row, skipped",
        HEAD + CSV_ROW + b"s,a,b,c,d,e,f\n",
        "... columns, not ... as in the header",
        "log.csv",
        kept=1,
        skipped=1,
        on_bad_row="skip",
    ),
    Case(
        "line number after a program of several lines",
        HEAD + b's,a,"x\n\ny",2025-01-01,1\n\ns,a\n',
        "log.csv, line 6: 2 columns",
        "log.csv",
    ),
    Case("blank lines in a CSV file", HEAD + b"\n" + CSV_ROW + b"\n\n", "1 submissions", "log.csv", kept=1),
    Case("NUL in a CSV cell", HEAD + b"s,a,x\0y,2025-01-01,1\n", "line 2: 'code' holds NUL bytes", "log.csv"),
    Case("TSV named csv", (HEAD + CSV_ROW).replace(b",", b"\t"), "no column 'student'", "log.csv"),
    Case("spreadsheet", b"\0", "unknown kind of table '.xlsx'", "log.xlsx"),
    Case("no Parquet", b"PAR1 and then nothing", "not a readable Parquet file", "log.parquet"),
    Case("truncated Parquet", parquet(*GOOD)[:-40], "not a readable Parquet file", "log.parquet"),
    Case(
        "Parquet damaged within",
        b"PAR1" + b"\xff" * 60 + parquet(*GOOD)[64:],
        "not a readable Parquet file",
        "log.parquet",
    ),
    Case("Parquet without rows", parquet(schema=pa.schema([("student", pa.string())])), "no usable", "log.parquet"),
    Case("empty row groups", parquet(*GOOD, row_group_size=1), "2 submissions", "log.parquet", kept=2),
    Case(
        "Parquet without a column",
        typed("code", None).replace(b"code", b"cede"),
        "row 1: no column 'code'",
        "log.parquet",
    ),
    Case(
        "column named twice in Parquet",
        table(["student", "student"], [[RAW], ["x"]]),
        "two columns are named",
        "log.parquet",
    ),
    Case(
        "dictionary column", typed("student", pa.dictionary(pa.int32(), pa.string())), "2 subm", "log.parquet", kept=2
    ),
    Case("binary column", typed("code", pa.binary(), b"x", b"y"), "2 submissions", "log.parquet", kept=2),
    Case(
        "binary that is no text", typed("code", pa.binary(), b"x", b"\xff"), "row 2: 'code' is not UTF-8", "log.parquet"
    ),
    Case(
        "invalid UTF-8 in a text column",
        parquet(*GOOD).replace(b"print(2)", b"print\xff2)"),
        "not a readable Parquet",
        "log.parquet",
    ),
    Case("time stamps with a zone", typed("time", pa.timestamp("us", "UTC"), T, T), "2 subm", "log.parquet", kept=2),
    Case(
        "time stamps of nanoseconds",
        typed("time", pa.timestamp("ns"), 1_700_000_000_000_000_001, 1),
        "2 subm",
        "log.parquet",
        kept=2,
    ),
    Case(
        "lists as code",
        typed("code", pa.list_(pa.string()), ["x"], ["y"]),
        "row 1: 'code' should be text, not list",
        "log.parquet",
    ),
    Case(
        "decimal grades",
        typed("grade", pa.decimal128(5, 2), Decimal("0.50"), Decimal("1.00")),
        "2 submissions",
        "log.parquet",
        kept=2,
    ),
    Case("missing file", lambda path: None, "does not exist; set data.source.submissions"),
    Case("folder without tables", folder_of(readme__txt=b"x"), "no table (.jsonl"),
    Case("folder named like a file", folder_of(a__jsonl=lines(*GOOD)), "2 submissions", kept=2),
    Case("folder among the files", folder_of(a__jsonl=lines(*GOOD), b__csv=None), "is a folder, not a table"),
    Case("empty file among the files", folder_of(a__jsonl=lines(*GOOD), b__csv=b""), "b.csv: the file is empty"),
    Case(
        "compressed file among the files", folder_of(a__csv=HEAD + CSV_ROW, b__csv__gz=b"x"), "b.csv.gz is compressed"
    ),
    Case("pattern that matches nothing", lambda path: None, "no table", "none-*.csv"),
    Case("link that leads nowhere", lambda path: path.symlink_to("gone"), "does not exist"),
    Case("links in a circle", lambda path: path.symlink_to(path.name), "does not exist"),
    Case(
        "link in a circle among the files",
        lambda path: (path.mkdir(), (path / "a.csv").symlink_to("a.csv")),
        "a link that leads nowhere",
    ),
    Case("a name too long for a file", lambda path: None, "File name too long", "x" * 300 + ".csv"),
]


def run(folder: Path, case: Case, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    path = folder / case.file
    if callable(case.make):
        case.make(path)
    else:
        path.write_bytes(case.make)
    recipe = write_recipe(folder, case.file, on_bad_row=case.on_bad_row, columns=case.columns, **case.source)
    status = main(["data", "import", str(recipe), "--to", str(folder / "made")])
    out = capsys.readouterr()
    return status, out.out + out.err


def write_recipe(folder: Path, file: str = "log.jsonl", **source: Any) -> Path:
    (folder / "secret").write_text("a key of more than 16 bytes")
    raw = {
        "name": "x",
        "model": {"id": "none"},
        "data": {
            "source": {"kind": "table", "submissions": file, "columns": COLUMNS, **source},
            "privacy": {"key_file": "secret"},
        },
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(raw))
    return path


@pytest.mark.parametrize("case", [*ROWS, *FILES], ids=lambda case: case.name)
def test_a_damaged_log(case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, text = run(tmp_path, case, capsys)
    assert case.says in text
    assert case.where in text
    assert RAW not in text
    made = tmp_path / "made"
    if case.kept is None:
        assert status == 2
        assert "error: " in text
        assert not (made / "dataset.json").exists()
        return
    assert status == 0
    manifest = json.loads((made / "dataset.json").read_bytes())
    assert manifest["submissions"] == case.kept
    assert sum(manifest["skipped"].values()) == case.skipped
    for path in made.rglob("*"):
        assert path.is_dir() or RAW.encode() not in path.read_bytes()


TASK = {"id": "a", "statement": "S.", "entry": "f", "tests": [{"args": "()", "expected": "1"}]}
ASSIGNMENTS = [
    ("empty", b"", "log.jsonl, line 1: assignment 'a' is not in tasks.jsonl"),
    ("not JSON", b"{", "tasks.jsonl, line 1: not valid JSON"),
    ("an array", json.dumps([TASK]).encode(), "a JSON array, not one object a line"),
    ("gzip", b"\x1f\x8b\x08", "compressed with gzip"),
    ("UTF-16", "{}".encode("utf-16"), "UTF-16"),
    ("duplicate key", b'{"id": "a", "id": "b"}', "tasks.jsonl, line 1: a key stands twice"),
    ("no statement", lines({"id": "a"}), "line 1: no column 'statement'"),
    ("twice", lines(TASK, TASK), "line 2: assignment 'a' stands twice"),
    ("no list of tests", lines({**TASK, "tests": {}}, {**TASK, "tests": "x"}), "line 2: "),
    ("test that is no object", lines({**TASK, "tests": [1]}), "line 1: 'tests' should be a list of test objects"),
    ("argument that is no literal", lines({**TASK, "tests": [{"args": "(f(),)", "expected": "1"}]}), "line 1: "),
    ("arguments that are no tuple", lines({**TASK, "tests": [{"args": "1", "expected": "1"}]}), "line 1: "),
    ("a folder", None, "does not exist; set data.source.assignments"),
]


@pytest.mark.parametrize(("name", "content", "says"), ASSIGNMENTS, ids=[a[0] for a in ASSIGNMENTS])
def test_a_damaged_assignments_file(
    name: str, content: bytes | None, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tasks = tmp_path / "tasks.jsonl"
    tasks.mkdir() if content is None else tasks.write_bytes(content)
    case = Case(name, lines(*GOOD), says, source={"assignments": "tasks.jsonl"})
    status, text = run(tmp_path, case, capsys)
    assert (status, says in text, RAW in text) == (2, True, False), text


def edit(name: str, change: Callable[[Any], Any]) -> Callable[[Path], None]:
    def made(folder: Path) -> None:
        (folder / name).write_text(json.dumps(change(json.loads((folder / name).read_bytes()))))

    return made


PART = "part-000000.parquet"


def flip(path: Path, at: int) -> None:
    raw = bytearray(path.read_bytes())
    raw[at] ^= 0xFF
    path.write_bytes(bytes(raw))


def replace_part(folder: Path) -> None:
    """Another Parquet file under the part's name, the manifest's size mended to match."""
    pq.write_table(pa.table({"x": [1]}), folder / PART)
    size = (folder / PART).stat().st_size
    edit("dataset.json", lambda raw: {**raw, "parts": [{**raw["parts"][0], "bytes": size}]})(folder)


DATASETS: list[tuple[str, Callable[[Path], object], str]] = [
    ("no manifest", lambda f: (f / "dataset.json").unlink(), "has no dataset.json; it is no dataset"),
    ("unfinished", lambda f: ((f / "dataset.json").unlink(), (f / ".import").mkdir()), "import was not finished"),
    ("manifest cut off", lambda f: (f / "dataset.json").write_bytes(b'{"format": 1'), "not valid JSON"),
    ("manifest of UTF-16", lambda f: (f / "dataset.json").write_bytes("{}".encode("utf-16")), "dataset.json: not"),
    ("manifest empty", lambda f: (f / "dataset.json").write_bytes(b""), "not valid JSON"),
    ("other format", edit("dataset.json", lambda raw: {**raw, "format": 99}), "not a dataset of format 1"),
    ("manifest a list", edit("dataset.json", lambda raw: [raw]), "not a dataset of format 1"),
    ("no list of parts", edit("dataset.json", lambda raw: {"format": 1}), "list of parts is damaged"),
    ("parts of names", edit("dataset.json", lambda raw: {**raw, "parts": ["x"]}), "list of parts is damaged"),
    ("part missing", lambda f: (f / PART).unlink(), f"{PART} is missing"),
    ("part cut off", lambda f: (f / PART).write_bytes((f / PART).read_bytes()[:-9]), "cut off or replaced"),
    ("part empty", lambda f: (f / PART).write_bytes(b""), "0 bytes, not"),
    ("a flipped byte in a part", lambda f: flip(f / PART, 60), f"{PART}: damaged after trajectory 0"),
    ("part replaced", replace_part, f"{PART}: damaged after trajectory 0"),
    ("part a folder", lambda f: ((f / PART).unlink(), (f / PART).mkdir()), PART),
    ("no assignments", lambda f: (f / "assignments.jsonl").unlink(), "not the assignments of a dataset"),
    ("assignments cut off", lambda f: (f / "assignments.jsonl").write_bytes(b'{"id": "a"'), "not the assignments"),
    ("assignments empty", lambda f: (f / "assignments.jsonl").write_bytes(b""), "0 assignments, not 1"),
    ("assignments of numbers", lambda f: (f / "assignments.jsonl").write_bytes(b"1\n"), "not the assignments"),
]


@pytest.mark.parametrize(("name", "damage", "says"), DATASETS, ids=[d[0] for d in DATASETS])
def test_a_damaged_dataset(
    name: str, damage: Callable[[Path], object], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, text = run(tmp_path, Case(name, lines(ROW), "", kept=1), capsys)
    assert status == 0, text
    made = tmp_path / "made"
    damage(made)
    for command in ("validate", "inspect", "regrade"):
        assert main(["data", command, str(made)]) == 2
        text = capsys.readouterr().err
        assert says in text, text


def test_a_dataset_that_is_whole_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path, Case("", lines(*GOOD), "", kept=2), capsys)
    assert main(["data", "validate", str(tmp_path / "made")]) == 0
    assert "1 trajectories, 2 submissions" in capsys.readouterr().out


def test_a_recipe_that_points_at_what_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = write_recipe(tmp_path)
    (tmp_path / "log.jsonl").write_bytes(lines(*GOOD))
    to = str(tmp_path / "made")
    for change, says in (
        ({"data": {"source": {"kind": "dataset", "folder": "none"}}}, "is a dataset already"),
        ({"data": {"source": {"kind": "table"}}}, "submissions: missing"),
        ({"data": {"source": {"kind": "tabel"}}}, "did you mean 'table'"),
        ({"data": {"source": {"kind": "table", "submissions": "${NOT_SET}/x"}}}, "NOT_SET is not set"),
        ({"data": {**yaml.safe_load(recipe.read_text())["data"], "privacy": {"key_file": "none"}}}, "there is no file"),
        ({"data": {**yaml.safe_load(recipe.read_text())["data"], "privacy": {"key_file": "."}}}, "Is a directory"),
        ({"data": {"source": {"kind": "function", "function": "no_such_module:f"}}}, "cannot be imported"),
    ):
        other = tmp_path / "other.yaml"
        other.write_text(yaml.safe_dump({"name": "x", "model": {"id": "none"}, **change}))
        assert main(["data", "import", str(other), "--to", to]) == 2
        assert says in capsys.readouterr().err


def test_a_key_that_is_too_short(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = write_recipe(tmp_path)
    (tmp_path / "log.jsonl").write_bytes(lines(*GOOD))
    (tmp_path / "secret").write_text("short")
    assert main(["data", "import", str(recipe), "--to", str(tmp_path / "made")]) == 2
    assert "holds 5 bytes; 16 are needed" in capsys.readouterr().err


def test_where_the_dataset_cannot_go(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = write_recipe(tmp_path)
    (tmp_path / "log.jsonl").write_bytes(lines(*GOOD))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("x")
    for to, says in (
        ("full", "is not an empty folder"),
        ("log.jsonl", "is not an empty folder"),
        ("log.jsonl/x", "cannot be made"),
        ("x" * 300, "File name too long"),
    ):
        assert main(["data", "import", str(recipe), "--to", str(tmp_path / to)]) == 2
        assert says in capsys.readouterr().err
    assert main(["data", "import", str(recipe), "--to", str(tmp_path / "made")]) == 0
    capsys.readouterr()
    assert main(["data", "import", str(recipe), "--to", str(tmp_path / "made")]) == 2
    assert "holds a dataset already" in capsys.readouterr().err


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = write_recipe(tmp_path)
    (tmp_path / "log.jsonl").write_bytes(lines(*GOOD))
    (tmp_path / "log.jsonl").chmod(0)
    assert main(["data", "import", str(recipe), "--to", str(tmp_path / "made")]) == 2
    assert "Permission denied" in capsys.readouterr().err


def test_half_written_files_are_not_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path, Case("", lines(ROW), "", kept=1), capsys)
    made = tmp_path / "made"
    shutil.copy(made / PART, made / f"{PART}.77.partial")
    assert main(["data", "validate", str(made)]) == 0
    assert "1 trajectories, 1 submissions" in capsys.readouterr().out
