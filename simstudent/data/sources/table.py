"""Any table with one submission a row (JSONL, CSV, Parquet), by a column mapping in the recipe.

Assignments come from a JSONL file beside it: statement, and tests for the graders where there are any.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from graders import Problem, ProblemError
from graders.extract import normalise_newlines
from simstudent.data.records import Assignment, Corpus, Submission, Trajectory, outcome_of
from simstudent.errors import SimstudentError
from simstudent.recipe import AssignmentColumns, Columns, TableSource
from simstudent.recipe_errors import closest

Place = str
"""Where a row stands, for messages: ``file.jsonl, line 12``."""


class BadRowError(Exception):
    """A row that is no submission; the message says why, without its place."""


def load(source: TableSource) -> Corpus:
    """The corpus in the files of ``source``, trajectories sorted by student and first appearance.

    A broken row raises SimstudentError naming file, line and reason, or, with ``on_bad_row: skip``, is listed in
    ``Corpus.skipped``.
    """
    assignments = _assignments(source) if source.assignments else {}
    skipped: list[str] = []
    grouped: dict[tuple[str, str], list[tuple[Any, Submission]]] = {}
    for place, row in _rows(source.submissions):
        try:
            student, assignment, order, submission = _submission(row, source.columns)
            if source.assignments and assignment not in assignments:
                raise BadRowError(f"assignment {assignment!r} is not in {source.assignments.name}")
        except BadRowError as error:
            message = f"{place}: {error}"
            if source.on_bad_row == "stop":
                raise SimstudentError(
                    f"{message}. Mend the row, or set data.source.on_bad_row: skip to go on without such rows"
                ) from None
            skipped.append(message)
            continue
        grouped.setdefault((student, assignment), []).append((order, submission))
    if not grouped:
        raise SimstudentError(f"{source.submissions}: no usable submission in this file ({len(skipped)} rows skipped)")
    for _, assignment in grouped:
        assignments.setdefault(assignment, Assignment(assignment, f"Assignment {assignment}"))
    name = source.submissions.name
    return Corpus(assignments, tuple(_trajectory(k, v, name) for k, v in sorted(grouped.items())), tuple(skipped))


def _trajectory(key: tuple[str, str], rows: list[tuple[Any, Submission]], name: str) -> Trajectory:
    if all(order is not None for order, _ in rows):
        rows = sorted(rows, key=lambda pair: pair[0])
    submissions = tuple(submission for _, submission in rows)
    return Trajectory(key[0], key[1], submissions, outcome_of(submissions), name)


def _submission(row: Mapping[str, Any], columns: Columns) -> tuple[str, str, Any, Submission]:
    """(student, assignment, sort key, submission) of a row. Raises BadRowError."""
    student, assignment = _text(row, columns.student), _text(row, columns.assignment)
    if not student.strip() or not assignment.strip():
        raise BadRowError(f"'{columns.student if not student.strip() else columns.assignment}' is empty")
    code = normalise_newlines(_text(row, columns.code, allow_empty=True))
    if "\x00" in code:
        raise BadRowError(f"'{columns.code}' holds NUL bytes")
    time = None if columns.time is None else _text(row, columns.time)
    feedback = None if columns.feedback is None else _text(row, columns.feedback, allow_empty=True)
    grade = None if columns.grade is None else _grade(row, columns.grade, columns.grade_max)
    order: Any = time
    if columns.order is not None:
        order = _number(row, columns.order)
    return student, assignment, order, Submission(code, time, grade, feedback)


def _field(row: Mapping[str, Any], name: str) -> Any:
    if name not in row:
        raise BadRowError(f"no column '{name}'; {closest(name, [str(k) for k in row])}")
    return row[name]


def _text(row: Mapping[str, Any], name: str, *, allow_empty: bool = False) -> str:
    value = _field(row, name)
    if value is None or (value == "" and not allow_empty):
        raise BadRowError(f"'{name}' is missing")
    if isinstance(value, bool | list | dict):
        raise BadRowError(f"'{name}' should be text, not {type(value).__name__}")
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def _number(row: Mapping[str, Any], name: str) -> float:
    value = _field(row, name)
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise BadRowError(f"'{name}' should be a number, not {value!r}") from None
    if not math.isfinite(number):
        raise BadRowError(f"'{name}' is not a finite number")
    return number


def _grade(row: Mapping[str, Any], name: str, full: float) -> float | None:
    """The grade in [0, 1]; an empty cell means not graded."""
    if _field(row, name) in (None, ""):
        return None
    grade = _number(row, name) / full
    if not 0 <= grade <= 1 + 1e-9:
        raise BadRowError(f"'{name}' is {row[name]!r}, outside 0 to {full:g} (data.source.columns.grade_max)")
    return min(grade, 1.0)


def _rows(path: Path) -> Iterator[tuple[Place, Mapping[str, Any]]]:
    """(place, row) for every row. A row that cannot be read at all comes as a mapping without columns."""
    if path.is_dir() or not path.exists():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise SimstudentError(f"data file {path} {what}; set data.source.submissions (relative to the recipe's folder)")
    kind = path.suffix.lower()
    if kind in (".jsonl", ".ndjson"):
        return _json_lines(path)
    if kind in (".csv", ".tsv"):
        return _csv_rows(path, "\t" if kind == ".tsv" else ",")
    if kind == ".parquet":
        return _parquet_rows(path)
    raise SimstudentError(f"{path}: unknown kind of table '{kind}'; known: .jsonl, .csv, .tsv, .parquet")


class _Broken(dict[str, Any]):
    """Stands for a row that could not be parsed: asking it for any column says why."""

    def __init__(self, reason: str) -> None:
        super().__init__()
        self.reason = reason

    def __contains__(self, key: object) -> bool:
        raise BadRowError(self.reason)


def _json_lines(path: Path) -> Iterator[tuple[Place, Mapping[str, Any]]]:
    with path.open("rb") as file:
        for number, raw in enumerate(file, 1):
            if not raw.strip():
                continue
            place = f"{path.name}, line {number}"
            try:
                row = json.loads(raw.decode("utf-8-sig" if number == 1 else "utf-8"))
            except UnicodeDecodeError as error:
                yield place, _Broken(f"not UTF-8 text (byte {error.start})")
            except json.JSONDecodeError as error:
                yield place, _Broken(f"not valid JSON: {error.msg} (column {error.colno})")
            except RecursionError:
                yield place, _Broken("JSON nested too deeply")
            else:
                yield place, row if isinstance(row, dict) else _Broken(f"not a JSON object but {type(row).__name__}")


def _csv_rows(path: Path, delimiter: str) -> Iterator[tuple[Place, Mapping[str, Any]]]:
    csv.field_size_limit(2**31 - 1)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, delimiter=delimiter, strict=True)
            for row in reader:
                place = f"{path.name}, line {reader.line_num}"
                if None in row or any(value is None for value in row.values()):
                    yield place, _Broken(f"not {len(reader.fieldnames or ())} columns as in the header")
                else:
                    yield place, row
    except UnicodeDecodeError as error:
        raise SimstudentError(f"{path}: not UTF-8 text ({error}); convert it, e.g. iconv -t utf-8") from None
    except csv.Error as error:
        raise SimstudentError(f"{path}: not a readable CSV file ({error})") from None


def _parquet_rows(path: Path) -> Iterator[tuple[Place, Mapping[str, Any]]]:
    import pyarrow
    import pyarrow.parquet

    number = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1024):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{path.name}, row {number}", row
    except (pyarrow.ArrowException, OSError) as error:
        raise SimstudentError(f"{path}: not a readable Parquet file after row {number} ({error})") from None


def _assignments(source: TableSource) -> dict[str, Assignment]:
    """Assignments by id. A broken assignment always stops: every trajectory of it would be lost."""
    path, found = source.assignments, {}
    assert path is not None
    if not path.is_file():
        raise SimstudentError(f"assignments file {path} does not exist; set data.source.assignments")
    if path.suffix.lower() not in (".jsonl", ".ndjson"):
        raise SimstudentError(f"{path}: assignments are read from JSONL only (one assignment a line)")
    for place, row in _json_lines(path):
        try:
            assignment = _assignment(row, source.assignment_columns)
            if assignment.id in found:
                raise BadRowError(f"assignment {assignment.id!r} stands twice")
        except (BadRowError, ProblemError) as error:
            raise SimstudentError(f"{place}: {error}") from None
        found[assignment.id] = assignment
    return found


def _assignment(row: Mapping[str, Any], columns: AssignmentColumns) -> Assignment:
    name, statement = _text(row, columns.id), normalise_newlines(_text(row, columns.statement))
    if not row.get(columns.tests):
        return Assignment(name, statement)

    def optional(column: str | None) -> str | None:
        return None if column is None or row.get(column) in (None, "") else _text(row, column)

    tests = row[columns.tests]
    if not isinstance(tests, list) or not all(isinstance(t, dict) for t in tests):
        raise BadRowError(f"'{columns.tests}' should be a list of test objects")
    raw = {
        "id": name,
        "tests": tests,
        "entry": optional(columns.entry),
        "prelude": optional(columns.prelude) or "",
        "solution": optional(columns.solution),
        "statement": statement,
    }
    return Assignment(name, statement, "python", Problem.from_dict(raw))
