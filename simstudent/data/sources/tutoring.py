"""Transcripts of tutoring on programs: what student and tutor say becomes talk between the states of the program.

One dialogue a row (JSONL or Parquet): the program that the student comes with, then turns, each with its text and
perhaps the program as it is after it. What was said before the first program follows an empty one.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import field_validator

from graders import FunctionTest, Problem, ProblemError
from graders.extract import normalise_newlines
from simstudent.data import rows
from simstudent.data.pieces import Piece
from simstudent.data.records import Assignment, Submission, Talk
from simstudent.data.rows import BadRowError, Place, Skips, Unit, grade_of, program, text_of, timestamp, value_of
from simstudent.data.sources import socratic_text
from simstudent.section import Section, expand


class TutoringColumns(Section):
    """Which field of a dialogue, and of a turn (``turn_...``), holds what."""

    student: str = "student"
    """Who it was; the dialogue's own id where every dialogue is another student's."""
    assignment: str | None = "assignment"
    """Its id; dialogues without one share an assignment when they share the statement."""
    statement: str = "statement"
    program: str | None = "program"
    """The program at the start."""
    tests: str | None = "tests"
    """A list of test objects (with ``entry``), or Python asserts that compare calls of one function with values."""
    entry: str | None = "entry"
    grade: str | None = None
    """The grade of the program at the start, 0 to 1."""
    final_grade: str | None = None
    """The grade of the last program."""
    turns: str = "turns"
    turn_role: str = "role"
    turn_text: str = "text"
    turn_program: str = "program"
    """The program after the turn, or a list of programs; a turn without has none."""
    turn_time: str | None = None
    more: tuple[str, ...] = ()
    """Further fields of a dialogue to keep with its submissions."""


class TutoringSource(Section):
    """Dialogues of students and tutors about programs."""

    kind: Literal["tutoring"]
    dialogues: Path
    """A table, a folder of them, or a folder with the text files of the Socratic debugging benchmark."""
    columns: TutoringColumns = TutoringColumns()
    student_roles: tuple[str, ...] = ("student", "user")
    tutor_roles: tuple[str, ...] = ("tutor", "teacher", "assistant")
    logged: bool = True
    """False: the dialogues were written, not logged from students; marked in ``more`` and told."""
    untested: Literal["keep", "drop"] = "keep"
    """What becomes of dialogues about assignments without tests that the graders can run: nothing else tells grades."""
    language: str = "python"
    on_bad_row: Literal["stop", "skip"] = "stop"

    _paths = field_validator("dialogues", mode="before")(expand)


def units(source: TutoringSource) -> list[Unit]:
    """The parts in which the dialogues are read. Raises SimstudentError when there is none."""
    if socratic_text.is_one(source.dialogues):
        return [Unit(source.dialogues)]
    return rows.units(rows.files(source.dialogues, "data.source.dialogues"))


def _rows(unit: Unit) -> Iterator[tuple[Place, Mapping[str, Any]]]:
    return socratic_text.rows(unit.path) if unit.path.is_dir() else rows.rows(unit)


def assignments(source: TutoringSource) -> dict[str, Assignment]:
    """The assignments of all dialogues by id. One id with several statements or tests becomes ``id``, ``id-2`` ..."""
    return {a.id: a for a in _tasks(source).values()}


def _tasks(source: TutoringSource) -> dict[str, Assignment]:
    """The assignments by what the dialogues say of them (`_said`)."""
    found: dict[str, Assignment] = {}
    taken: set[str] = set()
    for unit in units(source):
        for _, row in _rows(unit):
            try:
                said = _said(row, source.columns)
                if said in found:
                    continue
                name, statement = _id(row, source.columns), _statement(row, source.columns)
                problem = _problem(row, source.columns, statement)
            except BadRowError:
                continue  # told when the dialogue itself is read
            number = next(n for n in range(1, len(taken) + 2) if _numbered(name, n) not in taken)
            name = _numbered(name, number)
            taken.add(name)
            found[said] = Assignment(name, statement, source.language, problem and replace(problem, id=name))
    return found


def _numbered(name: str, number: int) -> str:
    return name if number == 1 else f"{name}-{number}"


def _statement(row: Mapping[str, Any], columns: TutoringColumns) -> str:
    return normalise_newlines(text_of(row, columns.statement))


def _id(row: Mapping[str, Any], columns: TutoringColumns) -> str:
    name = None if columns.assignment is None else value_of(row, columns.assignment)
    if name in (None, ""):
        return "task-" + hashlib.sha256(_statement(row, columns).encode()).hexdigest()[:8]
    return text_of(row, columns.assignment or "")


def _said(row: Mapping[str, Any], columns: TutoringColumns) -> str:
    """All that makes an assignment, as one text."""
    tests = None if columns.tests is None else row.get(columns.tests)
    entry = None if columns.entry is None else row.get(columns.entry)
    return json.dumps([_id(row, columns), _statement(row, columns), rows.plain(tests), rows.plain(entry)])


def pieces(source: TutoringSource, unit: Unit, known: dict[str, Assignment], skips: Skips) -> Iterator[Piece]:
    """A piece for every dialogue."""
    tasks = _tasks(source)
    dialogues, untested = 0, set[str]()
    for place, row in _rows(unit):
        try:
            student = text_of(row, source.columns.student)
            submissions = _Dialogue.of(row, source).submissions()
            _problem(row, source.columns, _statement(row, source.columns))  # for what it says of tests that are none
            task = tasks[_said(row, source.columns)]
        except BadRowError as error:
            skips(place, error)
            continue
        dialogues += 1
        if task.problem is None:
            untested.add(task.id)
            if source.untested == "drop":
                skips.note("dialogues about assignments without tests left out (data.source.untested)")
                continue
        yield Piece(student, task.id, submissions, place)
    skips.note("assignments without tests, or with some that the graders cannot run", len(untested))
    if not source.logged:
        skips.note("dialogues that were written, not logged from students", dialogues)


Step = tuple[str | Talk, str | None]
"""A program, or what is said, and when."""


@dataclass(frozen=True, slots=True)
class _Dialogue:
    """A dialogue as steps in time: programs, and what is said in between."""

    steps: tuple[Step, ...]
    grades: tuple[float | None, float | None]
    """Of the first and the last program."""
    more: Mapping[str, Any]

    @classmethod
    def of(cls, row: Mapping[str, Any], source: TutoringSource) -> _Dialogue:
        """Raises BadRowError for a dialogue without turns, or with a turn that is none."""
        c = source.columns
        steps: list[Step] = []
        first = None if c.program is None else row.get(c.program)
        if first not in (None, ""):
            steps.append((program(text_of(row, c.program or ""), c.program or ""), None))
        turns = value_of(row, c.turns)
        if not isinstance(turns, list) or not turns or not all(isinstance(turn, dict) for turn in turns):
            raise BadRowError(f"'{c.turns}' should be a list of turns")
        for number, turn in enumerate(turns, 1):
            try:
                steps += _turn(turn, source)
            except BadRowError as error:
                raise BadRowError(f"turn {number}: {error}") from None
        if not any(isinstance(what, str) for what, _ in steps):
            raise BadRowError("there is no program in the dialogue")
        grades = [None if name is None else grade_of(row, name, 1.0) for name in (c.grade, c.final_grade)]
        more = {name: rows.plain(value_of(row, name)) for name in c.more}
        return cls(tuple(steps), (grades[0], grades[1]), more if source.logged else {**more, "logged": False})

    def submissions(self) -> tuple[Submission, ...]:
        """The programs, each with what was said after it. What was said before any follows an empty one."""
        found: list[Submission] = []
        for what, time in self.steps:
            if isinstance(what, str):
                found.append(Submission(what, time, more=self.more))
            else:
                found = found or [Submission("", time, kind="hint", more=self.more)]
                found[-1] = replace(found[-1], talk=(*found[-1].talk, what))
        if found[0].code:
            found[0] = replace(found[0], grade=self.grades[0])
        if len(found) > 1 or self.grades[0] is None:
            found[-1] = replace(found[-1], grade=self.grades[1])
        return tuple(found)


def _turn(turn: Mapping[str, Any], source: TutoringSource) -> Iterator[Step]:
    """What is said in a turn, and then the programs of it."""
    c = source.columns
    role = text_of(turn, c.turn_role).strip().lower()
    if role not in source.student_roles + source.tutor_roles:
        names = ", ".join(source.student_roles + source.tutor_roles)
        raise BadRowError(
            f"'{c.turn_role}' is {role!r:.40}, not one of {names} (data.source.student_roles, tutor_roles)"
        )
    time = None if c.turn_time is None else timestamp(text_of(turn, c.turn_time), c.turn_time)
    text = normalise_newlines(text_of(turn, c.turn_text, allow_empty=True)).strip()
    if text:
        yield Talk("student" if role in source.student_roles else "tutor", text), time
    given = turn.get(c.turn_program)
    for code in given if isinstance(given, list) else [] if given in (None, "") else [given]:
        yield program(text_of({c.turn_program: code}, c.turn_program), c.turn_program), time


def _problem(row: Mapping[str, Any], columns: TutoringColumns, statement: str) -> Problem | None:
    """What the graders run: of test objects, or of asserts. None without tests, or with asserts of another kind.

    Raises BadRowError for test objects that are none.
    """
    tests = None if columns.tests is None else row.get(columns.tests)
    if not tests:
        return None
    if isinstance(tests, str):
        return of_asserts(tests, statement)
    entry = None if columns.entry is None else row.get(columns.entry)
    try:
        return Problem.from_dict({"id": "task", "tests": tests, "entry": entry, "statement": statement})
    except (ProblemError, TypeError, ValueError) as error:
        raise BadRowError(f"'{columns.tests}': {error}") from None


def of_asserts(text: str, statement: str = "") -> Problem | None:
    """A problem of asserts ``function(values) == value``, all of one function; None when there is any other line."""
    tests, entries = [], set()
    try:
        for line in ast.parse(text.strip()).body:
            test = line.test if isinstance(line, ast.Assert) else None
            if not (isinstance(test, ast.Compare) and len(test.ops) == 1 and isinstance(test.ops[0], ast.Eq | ast.Is)):
                return None
            call, value = test.left, test.comparators[0]
            if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.keywords:
                return None
            entries.add(call.func.id)
            arguments = tuple(ast.literal_eval(a) for a in call.args)
            tests.append(FunctionTest(repr(arguments), repr(ast.literal_eval(value))))
        return Problem("task", tuple(tests), entries.pop(), statement=statement) if len(entries) == 1 else None
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError, ProblemError):
        return None
