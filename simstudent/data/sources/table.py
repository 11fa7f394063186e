"""Any table with one submission a row (JSONL, CSV, Parquet), by a column mapping in the recipe.

Assignments come from a JSONL file beside it: statement, and tests for the graders where there are any.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from graders import Problem, ProblemError
from graders.extract import normalise_newlines
from simstudent.data import rows
from simstudent.data.pieces import Piece
from simstudent.data.records import Assignment, Submission
from simstudent.data.rows import BadRowError, Skips, Unit, code_of, grade_of, id_of, number_of, text_of, timestamp
from simstudent.errors import SimstudentError
from simstudent.section import Section, expand


class Columns(Section):
    """Which column holds what. ``order`` sorts within a trajectory (default: time, else the file's order)."""

    student: str = "student"
    assignment: str = "assignment"
    code: str = "code"
    time: str | None = None
    grade: str | None = None
    feedback: str | None = None
    order: str | None = None
    grade_max: float = Field(1.0, gt=0)
    """The log's full marks: logged grades are divided by it."""
    more: tuple[str, ...] = ()
    """Further columns to keep with each submission, for selection and splits."""


class AssignmentColumns(Section):
    """Which field of an assignments file (JSONL) holds what; ``tests`` is a list of test objects."""

    id: str = "id"
    statement: str = "statement"
    entry: str | None = "entry"
    prelude: str | None = "prelude"
    solution: str | None = "solution"
    tests: str = "tests"


class TableSource(Section):
    """JSONL, CSV or Parquet with one submission a row, and optionally a JSONL file of assignments.

    ``submissions``: a file, a folder of such files, or a pattern such as ``logs/*.csv``.
    """

    kind: Literal["table"]
    submissions: Path
    assignments: Path | None = None
    columns: Columns = Columns()
    assignment_columns: AssignmentColumns = AssignmentColumns()
    language: str = "python"
    delimiter: str | None = Field(None, min_length=1, max_length=1)
    """Of CSV files; default: a comma, in .tsv files a tab."""
    on_bad_row: Literal["stop", "skip"] = "stop"

    _paths = field_validator("submissions", "assignments", mode="before")(expand)


def units(source: TableSource) -> list[Unit]:
    """The parts in which the table is read. Raises SimstudentError when there is none."""
    return rows.units(rows.files(source.submissions, "data.source.submissions"))


def assignments(source: TableSource) -> dict[str, Assignment]:
    """The assignments of the file beside it. Raises SimstudentError when it is broken."""
    return described(source.assignments, source.assignment_columns, source.language) if source.assignments else {}


def pieces(source: TableSource, unit: Unit, known: dict[str, Assignment], skips: Skips) -> Iterator[Piece]:
    """A piece for every row. An assignment that nothing describes gets its id as its statement."""
    for place, row in rows.rows(unit, source.delimiter):
        try:
            piece = _piece(row, source.columns, place)
            if source.assignments and piece.assignment not in known:
                raise BadRowError(f"assignment {piece.assignment!r} is not in {source.assignments.name}")
        except BadRowError as error:
            skips(place, error)
            continue
        if piece.assignment not in known:
            known[piece.assignment] = Assignment(piece.assignment, f"Assignment {piece.assignment}", source.language)
        yield piece


def _piece(row: Mapping[str, Any], columns: Columns, place: str) -> Piece:
    student, assignment = id_of(row, columns.student), id_of(row, columns.assignment)
    submission = Submission(
        code_of(row, columns.code),
        None if columns.time is None else timestamp(text_of(row, columns.time), columns.time),
        None if columns.grade is None else grade_of(row, columns.grade, columns.grade_max),
        None if columns.feedback is None else text_of(row, columns.feedback, allow_empty=True),
        more={name: rows.plain(rows.value_of(row, name)) for name in columns.more},
    )
    return Piece(
        student, assignment, (submission,), place, () if columns.order is None else (number_of(row, columns.order),)
    )


def described(path: Path, columns: AssignmentColumns, language: str = "python") -> dict[str, Assignment]:
    """The assignments of a JSONL file by id. A broken one always stops: every trajectory of it would be lost.

    Raises SimstudentError naming file and line.
    """
    found: dict[str, Assignment] = {}
    if not path.is_file():
        raise SimstudentError(f"assignments file {path} does not exist; set data.source.assignments")
    if path.suffix.lower() not in (".jsonl", ".ndjson"):
        raise SimstudentError(f"{path}: assignments are read from JSONL only (one assignment a line)")
    rows.check_text(path)
    for place, row in rows.json_lines(Unit(path)):
        try:
            assignment = _assignment(row, columns, language)
            if assignment.id in found:
                raise BadRowError(f"assignment {assignment.id!r} stands twice")
        except (BadRowError, ProblemError) as error:
            raise SimstudentError(f"{place}: {error}") from None
        found[assignment.id] = assignment
    return found


def _assignment(row: Mapping[str, Any], columns: AssignmentColumns, language: str) -> Assignment:
    name, statement = id_of(row, columns.id), normalise_newlines(text_of(row, columns.statement))
    if not row.get(columns.tests):
        return Assignment(name, statement, language)

    def optional(column: str | None) -> str | None:
        return None if column is None or row.get(column) in (None, "") else text_of(row, column)

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
    return Assignment(name, statement, language, Problem.from_dict(raw))
