"""The table source: every kind of file, and what broken rows say."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from simstudent.data.load import open_log
from simstudent.data.privacy import PrivacySection
from simstudent.data.records import Corpus
from simstudent.data.rows import Skips
from simstudent.data.sources.table import AssignmentColumns, Columns, TableSource
from simstudent.errors import SimstudentError

ROWS: list[dict[str, Any]] = [
    {"student": "s2", "assignment": "a", "code": "x\r\n", "time": "2025-01-02", "grade": 50},
    {"student": "s1", "assignment": "a", "code": "second", "time": "2025-01-03", "grade": 100},
    {"student": "s1", "assignment": "a", "code": "first", "time": "2025-01-01", "grade": 0},
]
TASK = {
    "id": "a",
    "statement": "Write f.",
    "entry": "f",
    "tests": [{"args": "(1,)", "expected": "2"}],
    "solution": "def f(x):\n    return x + 1\n",
}


def jsonl(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows), encoding="utf-8")
    return path


def source(path: Path, **options: Any) -> TableSource:
    options.setdefault("columns", Columns(time="time", grade="grade", grade_max=100))
    return TableSource(kind="table", submissions=str(path), **options)  # type: ignore[arg-type]


def read(made: TableSource) -> tuple[Corpus, Skips]:
    log = open_log(made, PrivacySection(ids="keep"))
    return Corpus(log.assignments, tuple(log.trajectories)), log.skips


def load(made: TableSource) -> Corpus:
    return read(made)[0]


def write(kind: str, folder: Path) -> Path:
    path = folder / f"log.{kind}"
    if kind == "jsonl":
        return jsonl(path, ROWS)
    if kind == "parquet":
        import pyarrow
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), path)
        return path
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.DictWriter(file, list(ROWS[0]), delimiter="\t" if kind == "tsv" else ",")
        writer.writeheader()
        writer.writerows(ROWS)
    return path


@pytest.mark.parametrize("kind", ["jsonl", "csv", "tsv", "parquet"])
def test_every_kind_of_file_gives_the_same_trajectories(kind: str, tmp_path: Path) -> None:
    corpus = load(source(write(kind, tmp_path)))
    assert [t.key for t in corpus.trajectories] == ["s1/a", "s2/a"]
    first, second = corpus.trajectories
    assert [s.code for s in first.submissions] == ["first", "second"]
    assert [s.grade for s in first.submissions] == [0.0, 1.0]
    assert (first.outcome, second.outcome) == ("solved", "abandoned")
    assert second.submissions[0].code == "x\n"


def test_order_goes_by_its_column_as_numbers(tmp_path: Path) -> None:
    rows = [{"student": "s", "assignment": "a", "code": f"c{n}", "n": str(n)} for n in (10, 9, 2)]
    corpus = load(source(jsonl(tmp_path / "x.jsonl", rows), columns=Columns(order="n")))
    assert [s.code for s in corpus.trajectories[0].submissions] == ["c2", "c9", "c10"]


def test_assignments_become_problems(tmp_path: Path) -> None:
    tasks = jsonl(tmp_path / "tasks.jsonl", [TASK])
    corpus = load(source(write("jsonl", tmp_path), assignments=str(tasks)))
    problem = corpus.assignments["a"].problem
    assert problem is not None
    assert (problem.entry, problem.solution) == ("f", TASK["solution"])


BROKEN: list[tuple[Any, str]] = [
    ("{not json", "not valid JSON"),
    ("[1, 2]", "not a JSON object but list"),
    ({"student": "s", "assignment": "a", "time": "t", "grade": 0}, "no column 'code'"),
    ({"student": "s", "assignment": "a", "cod": "x", "time": "t", "grade": 0}, "did you mean 'cod'"),
    ({**ROWS[0], "student": ""}, "'student' is missing"),
    ({**ROWS[0], "student": "  "}, "'student' is empty"),
    ({**ROWS[0], "grade": "high"}, "'grade' should be a number, but is text like 'aaaa'"),
    ({**ROWS[0], "grade": 250}, "'grade' is outside 0 to 100"),
    ({**ROWS[0], "grade": -1}, "'grade' is outside 0 to 100"),
    ({**ROWS[0], "grade": float("nan")}, "not a finite number"),
    ({**ROWS[0], "code": ["x"]}, "should be text, not list"),
    ({**ROWS[0], "code": "a\x00b"}, "NUL bytes"),
    ({**ROWS[0], "time": None}, "'time' is missing"),
    ("[" * 100_000, "nested too deeply"),
]


@pytest.mark.parametrize(("row", "reason"), BROKEN)
def test_a_broken_row_stops_naming_file_line_and_reason(row: Any, reason: str, tmp_path: Path) -> None:
    path = jsonl(tmp_path / "log.jsonl", [ROWS[0], row, ROWS[1]])
    with pytest.raises(SimstudentError) as caught:
        load(source(path))
    assert "log.jsonl, line 2: " in str(caught.value)
    assert reason in str(caught.value)
    assert "on_bad_row: skip" in str(caught.value)


@pytest.mark.parametrize(("row", "reason"), BROKEN)
def test_a_broken_row_can_be_skipped_and_is_counted(row: Any, reason: str, tmp_path: Path) -> None:
    path = jsonl(tmp_path / "log.jsonl", [ROWS[0], row, ROWS[1]])
    corpus, skips = read(source(path, on_bad_row="skip"))
    assert sum(len(t.submissions) for t in corpus.trajectories) == 2
    assert len(skips) == 1
    assert "log.jsonl, line 2: " in skips.examples[0]
    assert reason in skips.examples[0]


def test_a_row_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(json.dumps(ROWS[0]).encode() + b"\n" + b'{"code": "\xe9"}\n')
    with pytest.raises(SimstudentError, match="line 2: not UTF-8"):
        load(source(path))


def test_a_short_csv_row_is_named(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("student,assignment,code\ns,a,x\ns,a\n", encoding="utf-8")
    with pytest.raises(SimstudentError, match=r"log.csv, line 3: 2 columns, not 3"):
        load(source(path, columns=Columns()))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("log.xlsx", b"PK", "unknown kind of table '.xlsx'"),
        ("log.parquet", b"PAR1 cut off", "not a readable Parquet file"),
        ("log.jsonl", b"", "the file is empty"),
        ("log.jsonl", b"\n", "no usable submission"),
        ("log.csv", "student,é".encode("latin-1"), "not UTF-8"),
    ],
)
def test_files_that_are_no_tables(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(SimstudentError, match=message):
        load(source(path))


def test_missing_files_and_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(SimstudentError, match="does not exist"):
        load(source(tmp_path / "none.jsonl"))
    with pytest.raises(SimstudentError, match="no table"):
        load(source(tmp_path))
    with pytest.raises(SimstudentError, match=r"assignments file .* does not exist"):
        load(source(write("jsonl", tmp_path), assignments=str(tmp_path / "none.jsonl")))


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ({**TASK, "tests": [{"args": "(1", "expected": "2"}]}, "test 1: 'args' is not a Python literal"),
        ({**TASK, "tests": [{"args": "1", "expected": "2"}]}, "'args' must be a tuple"),
        ({**TASK, "tests": "none"}, "should be a list of test objects"),
        ({"id": "a"}, "no column 'statement'"),
    ],
)
def test_a_broken_assignment_always_stops(task: Any, message: str, tmp_path: Path) -> None:
    tasks = jsonl(tmp_path / "tasks.jsonl", [task])
    with pytest.raises(SimstudentError, match=r"tasks.jsonl, line 1: .*" + message.replace("(", r"\(")):
        load(source(write("jsonl", tmp_path), assignments=str(tasks), on_bad_row="skip"))


def test_a_submission_to_an_unknown_assignment_is_a_broken_row(tmp_path: Path) -> None:
    tasks = jsonl(tmp_path / "tasks.jsonl", [{**TASK, "id": "b"}])
    with pytest.raises(SimstudentError, match=r"line 1: assignment 'a' is not in tasks.jsonl"):
        load(source(write("jsonl", tmp_path), assignments=str(tasks), assignment_columns=AssignmentColumns()))
