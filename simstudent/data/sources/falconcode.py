"""FalconCode: an introductory Python course of the United States Air Force Academy (de Freitas et al., SIGCSE 2023).

Read from the hub's table, from files with the same columns, or from the tables of the original release. Every
problem carries the course's own autograder script, which grades real and simulated programs alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from graders import Problem, ProblemError
from graders.extract import normalise_newlines
from graders.falconcode import prepare
from simstudent.data import rows
from simstudent.data.pieces import Piece, add
from simstudent.data.records import Assignment, Submission
from simstudent.data.rows import BadRowError, Broken, Place, Skips, Unit, code_of, grade_of, number_of, text_of, time_of
from simstudent.data.sources import falconcode_release as original
from simstudent.data.sources import hub as huggingface
from simstudent.data.sources.falconcode_release import ReleaseColumns, optional
from simstudent.errors import SimstudentError
from simstudent.section import Section, expand

LOCAL_RUN = -1.0
"""The score of a program that the student ran without handing it in."""


class FalconColumns(Section):
    """Which column holds what; the defaults are the hub's names. Those that may be null may also be absent."""

    student: str = "student_id"
    problem: str = "problem_id"
    code: str = "source_code"
    score: str = "score"
    time: str = "timestamp"
    prompt: str = "prompt"
    script: str = "testcase"
    max_score: str = "max_score"
    type: str = "type"
    exam: str = "exam"
    redacted: str = "redacted"
    course: str = "course_id"
    term: str = "term"
    lesson: str = "lesson"
    more: tuple[str, ...] = ()
    """Further columns to keep with each submission, for selection and splits."""


class FalconCodeSource(Section):
    """Exactly one of ``hub`` (a table on the hub), ``files`` (CSV, Parquet or JSONL of the same columns) and
    ``release`` (the folder with the tables of the original release).
    """

    kind: Literal["falconcode"]
    hub: str | None = None
    config: str = "submitted"
    revision: str | None = None
    splits: tuple[str, ...] = Field(("train", "val", "test"), min_length=1)
    """The hub table's own splits to read; each submission remembers its own in ``more.split``."""
    files: Path | None = None
    release: Path | None = None
    columns: FalconColumns = FalconColumns()
    release_columns: ReleaseColumns = ReleaseColumns()
    score_max: float | None = Field(None, gt=0)
    """Full marks of logged scores; default: 100, in the original release the problem's ``max_score``."""
    terms: dict[str, str] = Field({"2": "Spring 2021", "3": "Fall 2021", "4": "Spring 2022"})
    """The term of each course where the table does not say."""
    per_course: bool = False
    """An assignment of its own, and a lesson, for each course that has a problem (``id@course``): problems change."""
    on_bad_row: Literal["stop", "skip"] = "stop"

    _paths = field_validator("files", "release", mode="before")(expand)

    @model_validator(mode="after")
    def _one_place(self) -> FalconCodeSource:
        if sum(place is not None for place in (self.hub, self.files, self.release)) != 1:
            raise ValueError("name exactly one of hub, files and release")
        return self


def units(source: FalconCodeSource) -> list[Unit]:
    """The parts in which the log is read. Raises SimstudentError when it cannot be had."""
    if source.hub is not None:
        return huggingface.units(source.hub, source.config, source.splits, source.revision)
    if source.files is not None:
        return rows.units(rows.files(source.files, "data.source.files"))
    return original.units(_folder(source), source.release_columns)


def assignments(source: FalconCodeSource) -> dict[str, Assignment]:
    """None ahead: every row describes its problem."""
    return {}


def pieces(source: FalconCodeSource, unit: Unit, known: dict[str, Assignment], skips: Skips) -> Iterator[Piece]:
    """A piece for every row. A row without a usable problem, program, score or student is skipped.

    Raises SimstudentError when a problem stands in the log with different texts or scripts.
    """
    broken: dict[str, str] = {}
    told: set[tuple[Any, ...]] = set()
    columns = source.columns if source.release is None else FalconColumns(more=source.columns.more)
    for place, row in _rows(source, unit, skips):
        try:
            problem, course = text_of(row, columns.problem).strip(), optional(row, columns.course)
            if not problem:
                raise BadRowError(f"'{columns.problem}' is empty")
            name = f"{problem}@{course}" if source.per_course and course else problem
            if name in broken:
                raise BadRowError(broken[name])
            texts = (name, *(row.get(column) for column in (columns.prompt, columns.script, columns.max_score)))
            if texts not in told:
                try:
                    add(known, _assignment(row, columns, name, problem))
                except ProblemError as error:
                    broken[name] = str(error)
                    raise BadRowError(str(error)) from None
                except SimstudentError as error:
                    raise SimstudentError(f"{place}: {error}") from None
                told.add(texts)
            piece = _piece(row, source, columns, name, place)
        except BadRowError as error:
            skips(place, error)
            continue
        yield piece


def _rows(source: FalconCodeSource, unit: Unit, skips: Skips) -> Iterator[tuple[Place, Mapping[str, Any]]]:
    if source.hub is not None:
        return huggingface.rows(unit, source.hub, source.config, source.revision)
    if source.files is not None:
        return _with_split(rows.rows(unit), huggingface.split_of(unit.path))
    return original.joined(_folder(source), unit, source.release_columns, skips)


def _with_split(
    found: Iterator[tuple[Place, Mapping[str, Any]]], split: str
) -> Iterator[tuple[Place, Mapping[str, Any]]]:
    """Rows of a file that is named as the hub's are belong to that split."""
    for place, row in found:
        yield place, {"split": split, **row} if split and not isinstance(row, Broken) else row


def _folder(source: FalconCodeSource) -> Path:
    assert source.release is not None
    return source.release


def _assignment(row: Mapping[str, Any], columns: FalconColumns, name: str, problem: str) -> Assignment:
    """The assignment that a row describes, with the course's script where it has one. Raises ProblemError."""
    statement = normalise_newlines(text_of(row, columns.prompt)).strip()
    script = optional(row, columns.script)
    if not script:  # nothing but a person grades it
        return Assignment(name, statement)
    script = normalise_newlines(script) + "\n"
    made = Problem(problem, statement=statement, autograder=script, max_points=_full(row, columns))
    prepare(made)
    return Assignment(name, statement, problem=made)


def _piece(row: Mapping[str, Any], source: FalconCodeSource, columns: FalconColumns, name: str, place: Place) -> Piece:
    student = text_of(row, columns.student).strip()
    if not student:
        raise BadRowError(f"'{columns.student}' is empty")
    run = _is_local(row, columns.score)
    full = source.score_max or (100.0 if source.release is None else _full(row, columns))
    submission = Submission(
        code_of(row, columns.code),
        time_of(row, columns.time),
        None if run else grade_of(row, columns.score, full),
        kind="run" if run else "submission",
        more=_more(row, source, columns),
    )
    return Piece(student, name, (submission,), place)


def _is_local(row: Mapping[str, Any], column: str) -> bool:
    return rows.value_of(row, column) not in (None, "") and number_of(row, column) == LOCAL_RUN


def _full(row: Mapping[str, Any], columns: FalconColumns) -> float:
    return number_of(row, columns.max_score) if optional(row, columns.max_score) else 100.0


def _more(row: Mapping[str, Any], source: FalconCodeSource, columns: FalconColumns) -> dict[str, Any]:
    """What selection and splits go by: type, course, term, exam, lesson, redacted, split, and ``columns.more``."""
    course, problem = optional(row, columns.course), text_of(row, columns.problem).strip()
    lesson = optional(row, columns.lesson) or problem.partition("_")[0]
    more: dict[str, Any] = {
        "type": optional(row, columns.type).lower(),
        "course": course,
        "term": optional(row, columns.term) or source.terms.get(course, ""),
        "lesson": f"{lesson}@{course}" if source.per_course and course else lesson,
        "exam": _flag(row, columns.exam),
        "redacted": _flag(row, columns.redacted),
        "split": optional(row, "split"),
    }
    kept = {name: value for name, value in more.items() if value not in ("", None)}
    return kept | {name: rows.plain(rows.value_of(row, name)) for name in columns.more}


_FLAGS = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}


def _flag(row: Mapping[str, Any], name: str) -> bool | None:
    """A yes or no, however it is written; None where the row does not say. Raises BadRowError for anything else."""
    value = row.get(name)
    if value in (None, ""):
        return None
    word = str(int(value) if isinstance(value, float) and value.is_integer() else value).strip().lower()
    if word not in _FLAGS:
        raise BadRowError(f"'{name}' should be 0 or 1, not {value!r:.40}")
    return _FLAGS[word]
