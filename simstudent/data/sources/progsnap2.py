"""ProgSnap2 datasets: events with code states become submissions, runs and hint requests.

An event of a kept type is a state of the student's program. What happened because of it (its compilation, the runs
of its tests, the answer to a hint request) are events that name it as their parent; with no program of their own, or
the same, they are its outcome: they give grade, feedback and talk, and stay in ``more``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from simstudent.data import progsnap2 as ps2
from simstudent.data import rows
from simstudent.data.pieces import Piece
from simstudent.data.records import Assignment, Kind, Submission, Talk
from simstudent.data.rows import BadRowError, Skips, Unit, grade_of, number_of, text_of
from simstudent.data.sources.table import AssignmentColumns, described
from simstudent.errors import SimstudentError
from simstudent.section import Section, expand


class Events(Section):
    """Which types of events are states of a program, and of what kind. Others are counted, and left aside.

    A run that was graded counts as a submission: many tools have one button for both.
    """

    submissions: tuple[str, ...] = ("Submit",)
    runs: tuple[str, ...] = ("Run.Program", "Run.Test", "Debug.Program", "Debug.Test", "Compile")
    hints: tuple[str, ...] = ("X-HintRequest", "Intervention")

    @property
    def kinds(self) -> dict[str, Kind]:
        """Event type -> kind of submission."""
        found: dict[str, Kind] = dict.fromkeys(self.runs, "run")
        return found | dict.fromkeys(self.hints, "hint") | dict.fromkeys(self.submissions, "submission")


class ProgSnap2Source(Section):
    """A folder with ``MainTable.csv``, ``DatasetMetadata.csv``, ``CodeStates`` and perhaps ``LinkTables``."""

    kind: Literal["progsnap2"]
    folder: Path
    assignments: Path | None = None
    """A JSONL file with statements and tests, as of the source ``table``: the format itself has neither. Assignments
    that it lacks have no tests."""
    assignment_columns: AssignmentColumns = AssignmentColumns()
    assignment: tuple[str, ...] = Field(("ProblemID", "AssignmentID"), min_length=1)
    """The columns that name the assignment: the first that an event fills."""
    events: Events = Events()
    grade: tuple[str, ...] = ("Score", "Correct")
    """The columns with the grade (a number, or TRUE and FALSE): the first that an event fills."""
    grade_max: float = Field(1.0, gt=0)
    feedback: tuple[str, ...] = ("CompileMessageData", "ProgramErrorOutput")
    """The columns with what the student was shown."""
    talk: tuple[str, ...] = ("InterventionMessage",)
    """The columns with what a hint system or a tutor told the student."""
    statement: str | None = None
    """A column, of a link table too, with the assignment's statement."""
    person_columns: tuple[str, ...] = ()
    """Columns to keep of link tables about subjects or teams, which may tell who they are."""
    folds: Path | None = None
    """A folder of ``Fold*/Test.csv``, as CSEDM's challenge gives: each student's fold becomes ``Fold`` in ``more``."""
    order: Literal["auto", "order", "time"] = "auto"
    """Events in the order of their column Order, or of their times; auto: as the metadata say."""
    strip_trailing_backslash: bool = False
    """Take one backslash off the end of programs: some exports put it there."""
    language: str = "python"
    on_bad_row: Literal["stop", "skip"] = "stop"

    _paths = field_validator("folder", "assignments", "folds", mode="before")(expand)


def units(source: ProgSnap2Source) -> list[Unit]:
    """The main table, as one. Raises SimstudentError when there is none."""
    path = source.folder / ps2.MAIN_TABLE
    ps2.header(path)
    return [Unit(path)]


def assignments(source: ProgSnap2Source) -> dict[str, Assignment]:
    """The assignments of the file beside it. Raises SimstudentError when it is broken."""
    return described(source.assignments, source.assignment_columns, source.language) if source.assignments else {}


@dataclass(frozen=True, slots=True)
class _Reading:
    """What is needed to read an event, made ready once."""

    source: ProgSnap2Source
    kinds: Mapping[str, Kind]
    code: ps2.Code
    links: list[ps2.LinkTable]
    by_order: bool
    outcomes: Mapping[str, list[Mapping[str, Any]]]
    """Event -> the events that are its outcome."""
    followers: frozenset[str]
    """The events that are another's outcome."""
    unseen: frozenset[str]
    """The columns that ``more`` does not hold: told elsewhere, or by whom it was."""


def pieces(source: ProgSnap2Source, unit: Unit, known: dict[str, Assignment], skips: Skips) -> Iterator[Piece]:
    """A piece for every event that is a state of a program. Raises SimstudentError when there is no such event."""
    names = ps2.header(unit.path)
    reading = _ready(source, unit, names)
    aside, seen, states, stripped = Counter[str](), set[str](), 0, 0
    for place, row in rows.csv_rows(unit.path):
        try:
            kind = reading.kinds.get(text_of(row, ps2.EVENT_TYPE))
            event = row.get(ps2.EVENT_ID) or ""
            if event in seen:
                raise BadRowError(f"event {event!r} stands twice ('{ps2.EVENT_ID}')")
            seen.update([event] if event else [])
            if event in reading.followers:
                continue
            if kind is None:
                aside[row[ps2.EVENT_TYPE]] += 1
                continue
            states += 1
            code = reading.code(row)
            if source.strip_trailing_backslash and code.endswith("\\"):
                code, stripped = code[:-1], stripped + 1
            piece = _piece(reading, row, kind, code, place)
        except BadRowError as error:
            skips(place, error)
            continue
        if piece.assignment not in known:
            known[piece.assignment] = _assignment(reading, row, piece.assignment)
            skips.note(
                "assignments that data.source.assignments does not describe: without tests",
                source.assignments is not None,
            )
        yield piece
    if not states:
        found = ", ".join(f"{name} ({count:,})" for name, count in aside.most_common(12)) or "none"
        raise SimstudentError(f"{unit.path}: no event of data.source.events. Types of events in it: {found}")
    for name, count in aside.items():
        skips.note(f"events of type {name}, which are no state of a program here (data.source.events)", count)
    skips.note("programs that ended in a stray backslash, which was removed", stripped)


def _ready(source: ProgSnap2Source, unit: Unit, names: list[str]) -> _Reading:
    """Raises SimstudentError when columns or files are missing that the metadata or the recipe promise."""
    said = ps2.metadata(source.folder)
    for name in (ps2.EVENT_TYPE, ps2.SUBJECT):
        if name not in names:
            raise SimstudentError(f"{unit.path}: no column '{name}'; every ProgSnap2 main table has it")
    if not set(source.assignment) & set(names):
        raise SimstudentError(
            f"{unit.path}: none of the columns {', '.join(source.assignment)} (data.source.assignment)"
        )
    representation = ps2.representation(source.folder, said.values.get("CodeStateRepresentation"), names)
    outcomes, followers = _outcomes(unit, source.events.kinds) if ps2.PARENT in names else ({}, frozenset[str]())
    told = {*ps2.PERSONS, *(n for pair in ps2.TIMES for n in pair), ps2.CODE, *source.assignment, *source.grade}
    return _Reading(
        source,
        source.events.kinds,
        ps2.codes(source.folder, representation),
        ps2.link_tables(source.folder, names, source.person_columns)
        + ([ps2.folds(source.folds)] if source.folds is not None else []),
        _by_order(source, said, names),
        outcomes,
        followers,
        frozenset(told | set(source.feedback) | set(source.talk)),
    )


def _by_order(source: ProgSnap2Source, said: ps2.Metadata, names: list[str]) -> bool:
    """Whether Order puts a trajectory's events in order."""
    if source.order == "time":
        return False
    trusted = source.order == "order"
    if not trusted and ps2.ORDER in names and not said.values:
        raise SimstudentError(
            f"{source.folder / ps2.METADATA} does not exist, so nothing says whether '{ps2.ORDER}' can be trusted; "
            "set data.source.order to order or time"
        )
    if not trusted and said.scope is not None:  # a trajectory lies within a group of these columns
        trusted = said.scope <= {ps2.SUBJECT, *source.assignment}
    if trusted and ps2.ORDER not in names:
        raise SimstudentError(
            f"{source.folder / ps2.MAIN_TABLE}: no column '{ps2.ORDER}', which the metadata say orders the events; "
            "set data.source.order: time"
        )
    return trusted


def _outcomes(unit: Unit, kinds: Mapping[str, Kind]) -> tuple[dict[str, list[Mapping[str, Any]]], frozenset[str]]:
    """The events that are the outcome of a kept one, by its id, and their own ids.

    The parent's parent counts as well: a compile error hangs on a compilation that hangs on a run.
    """
    parents: dict[str, str] = {}
    kept: dict[str, str] = {}  # event -> its program, by code state or text
    followers: list[Mapping[str, Any]] = []
    for _, row in rows.csv_rows(unit.path):
        event = row.get(ps2.EVENT_ID)
        if not event:
            continue  # a broken row is told when it is read for itself
        if row.get(ps2.EVENT_TYPE) in kinds:
            kept.setdefault(event, _program(row))
        if row.get(ps2.PARENT) not in ps2.EMPTY:
            parents[event] = row[ps2.PARENT]
            followers.append({name: cell for name, cell in row.items() if cell not in ps2.EMPTY})  # most are empty
    outcomes: dict[str, list[Mapping[str, Any]]] = {}
    for row in followers:
        owner, above = None, parents.get(row[ps2.EVENT_ID])
        for _ in range(100):  # parents in a circle have no top
            owner = above if above in kept else owner
            above = parents.get(above or "")
        if owner is not None and owner != row[ps2.EVENT_ID] and (_program(row) or kept[owner]) == kept[owner]:
            outcomes.setdefault(owner, []).append(row)
    return outcomes, frozenset(row[ps2.EVENT_ID] for held in outcomes.values() for row in held)


def _program(row: Mapping[str, Any]) -> str:
    return row.get(ps2.CODE_STATE) or row.get(ps2.CODE) or ""


def _piece(reading: _Reading, row: Mapping[str, Any], kind: Kind, code: str, place: str) -> Piece:
    source = reading.source
    student = text_of(row, ps2.SUBJECT)
    assignment = next((row[name] for name in source.assignment if row.get(name) not in ps2.EMPTY), "")
    if not student.strip() or not assignment.strip():
        raise BadRowError(f"'{' and '.join(source.assignment) if student.strip() else ps2.SUBJECT}' is empty")
    outcomes = reading.outcomes.get(row.get(ps2.EVENT_ID) or "", [])
    grade = _grade(source, row)
    if grade is None:  # several tests of one program: the share that passed
        grades = [g for g in (_grade(source, o) for o in outcomes) if g is not None]
        grade = sum(grades) / len(grades) if grades else None
    told = [row, *outcomes]
    submission = Submission(
        code,
        ps2.time_of(row),
        grade,
        "\n".join(_texts(told, source.feedback)) or None,
        "submission" if kind == "run" and grade is not None else kind,
        tuple(Talk("tutor", text) for text in _texts(told, source.talk)),
        _more(reading, row, outcomes),
    )
    return Piece(student, assignment, (submission,), place, (number_of(row, ps2.ORDER),) if reading.by_order else ())


_VERDICTS = {"true": 1.0, "false": 0.0}


def _grade(source: ProgSnap2Source, row: Mapping[str, Any]) -> float | None:
    """The grade of an event in [0, 1]. Raises BadRowError for what is no grade."""
    name = next((name for name in source.grade if row.get(name) not in ps2.EMPTY), None)
    if name is None:
        return None
    return _VERDICTS[_word(row, name)] if _word(row, name) in _VERDICTS else grade_of(row, name, source.grade_max)


def _word(row: Mapping[str, Any], name: str) -> str:
    return str(row[name]).strip().lower()


def _texts(told: list[Mapping[str, Any]], names: tuple[str, ...]) -> list[str]:
    return [row[name] for row in told for name in names if row.get(name) not in ps2.EMPTY]


def _more(reading: _Reading, row: Mapping[str, Any], outcomes: list[Mapping[str, Any]]) -> dict[str, Any]:
    """What else the log says of an event: its other columns, link tables, and the events that are its outcome."""

    subject = text_of(row, ps2.SUBJECT)

    def rest(event: Mapping[str, Any], unseen: frozenset[str]) -> dict[str, Any]:
        found = {name: value for name, value in event.items() if name not in unseen and value not in ps2.EMPTY}
        return {name: value for name, value in found.items() if not ps2.names(value, subject)}

    found = rest(row, reading.unseen)
    grade = next((name for name in reading.source.grade if row.get(name) not in ps2.EMPTY), None)
    if grade is not None and _word(row, grade) in _VERDICTS:
        found["verdict"] = True  # the logged grade says only right or wrong (data.regrade)
    for table in reading.links:
        found |= {name: value for name, value in table(row).items() if name not in found}
    if outcomes:
        found["outcome"] = [rest(o, frozenset({*ps2.PERSONS, ps2.CODE, *reading.source.assignment})) for o in outcomes]
    return found


def _assignment(reading: _Reading, row: Mapping[str, Any], name: str) -> Assignment:
    """An assignment that no file describes: with the statement of the log, else its id as one."""
    wanted = reading.source.statement
    found = [row, *(table(row) for table in reading.links)] if wanted else []
    text = next((held[wanted] for held in found if wanted and held.get(wanted) not in ps2.EMPTY), None)
    return Assignment(name, text or f"Assignment {name}", reading.source.language)
