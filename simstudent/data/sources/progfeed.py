"""ProgFeed: submissions to the labs of an introductory course, with test outcomes and feedback by a language model.

*A Classroom Study of LLM-generated Feedback Intervention in Introductory Programming* (UMass, autumn 2025), CC BY 4.0.
Clone ``umass-ml4ed/progFeed-dataset-public``; its ``DATA_DICTIONARY.md`` describes the columns. Each graded function of
a submission is a submission to that function's assignment.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import field_validator

from simstudent.data import rows
from simstudent.data.pieces import Piece
from simstudent.data.records import Assignment, Submission, Talk
from simstudent.data.rows import BadRowError, Skips, Unit, code_of, number_of, program, text_of, timestamp
from simstudent.data.sources.progfeed_tests import Cases, cases, key
from simstudent.section import Section, expand

TABLE = "all_submissions_consolidated*.csv"
_TOLD = ("student_id", "code_snippet", "ai_feedback_text", "submission_timestamp", "consented", "age_18_plus")


class ProgFeedSource(Section):
    """A clone of the dataset: ``all_submissions_consolidated.csv``, ``autograders`` with the tests, ``all_labs``."""

    kind: Literal["progfeed"]
    folder: Path
    program: Literal["function", "file"] = "function"
    """The function that was graded, after those of the same file that it calls, as the table has them; or the whole
    file that was handed in (of ``all_labs``)."""
    ai_feedback: Literal["talk", "feedback", "none"] = "talk"
    """What the language model told the student: a tutor's turn, part of the feedback, or left out."""
    on_bad_row: Literal["stop", "skip"] = "stop"

    _paths = field_validator("folder", mode="before")(expand)


def units(source: ProgFeedSource) -> list[Unit]:
    """The table, as one. Raises SimstudentError when there is none."""
    return [Unit(path) for path in rows.files(source.folder / TABLE, "data.source.folder")]


def assignments(source: ProgFeedSource) -> dict[str, Assignment]:
    """None ahead: the table tells which functions there are."""
    return {}


@dataclass(slots=True)
class _Graded:
    """A function of a submission with all of its rows: most have one, whole-file tasks one for every test."""

    place: str
    lab: str
    function: str
    rows: list[Mapping[str, Any]] = field(default_factory=list)


def pieces(source: ProgFeedSource, unit: Unit, known: dict[str, Assignment], skips: Skips) -> Iterator[Piece]:
    """A piece for every graded function of every submission."""
    found: dict[tuple[str, ...], _Graded] = {}
    for place, row in rows.csv_rows(unit.path):
        try:
            if text_of(row, "consented", allow_empty=True).strip().lower() == "false":
                skips.note("rows of students who did not consent")
                continue
            student, lab, time = (text_of(row, n) for n in ("student_id", "lab", "submission_timestamp"))
            function = text_of(row, "function_name", allow_empty=True)
            name = function or text_of(row, "source_file", allow_empty=True) or text_of(row, "test_name")
            found.setdefault((student, lab, time, name), _Graded(place, lab, function)).rows.append(row)
        except BadRowError as error:
            skips(place, error)
    described = cases(source.folder)
    files = _files(found)
    for (student, lab, time, name), graded in found.items():
        assignment = f"{lab}.{name}"
        try:
            submission = _submission(source, graded.rows, (lab, student, time), files)
        except BadRowError as error:
            skips(graded.place, error)
            continue
        if assignment not in known:
            held = described.get(key(lab, graded.function), Cases(()))
            known[assignment] = _assignment(assignment, name, graded, held)
            skips.note("test cases of autograders that could not be read", held.unread)
            skips.note("assignments without tests", not held.tests)
        yield Piece(student, assignment, (submission,), graded.place)


def _assignment(assignment: str, name: str, graded: _Graded, held: Cases) -> Assignment:
    asked = f"Write the function {name} of {graded.lab}." if graded.function else f"Write {name} of {graded.lab}."
    statement = held.statement or asked
    return Assignment(assignment, statement, "python", held.problem(assignment, name, statement))


_Files = dict[tuple[str, ...], dict[str, str]]
"""Student, lab, time and file -> the functions of it that were graded, by name."""


def _files(found: Mapping[tuple[str, ...], _Graded]) -> _Files:
    files: _Files = {}
    for (student, lab, time, name), graded in found.items():
        if graded.function:
            file = str(graded.rows[0].get("source_file"))
            files.setdefault((student, lab, time, file), {})[name] = str(graded.rows[0].get("code_snippet") or "")
    return files


def _with_callees(row: Mapping[str, Any], functions: Mapping[str, str]) -> str:
    """A graded function after the others of its file that it calls, themselves or through one another.

    Raises BadRowError for a cell that is no program.
    """
    own = text_of(row, "function_name", allow_empty=True)
    needed, todo = {own}, [own]
    while todo:
        code = functions.get(todo.pop(), "")
        called = [name for name in functions if name not in needed and re.search(rf"\b{re.escape(name)}\s*\(", code)]
        needed.update(called)
        todo += called
    parts = [functions[name] for name in functions if name in needed and name != own]
    return program("\n\n\n".join([*(p.rstrip() for p in parts), code_of(row, "code_snippet")]), "code_snippet")


def _submission(
    source: ProgFeedSource, held: Sequence[Mapping[str, Any]], where: tuple[str, str, str], files: _Files
) -> Submission:
    first, (lab, student, time) = held[0], where
    if source.program == "function":
        code = _with_callees(first, files.get((student, lab, time, str(first.get("source_file"))), {}))
    else:
        code = _file(source.folder, first, where)
    outcome, grade = _outcome(held)
    told = list(dict.fromkeys(t for r in held if (t := text_of(r, "ai_feedback_text", allow_empty=True).strip())))
    if source.ai_feedback == "feedback":
        outcome = "\n".join([outcome, *told])
    more = {name: value for name, value in first.items() if name not in _TOLD and value != ""}
    if len(held) > 1:
        more["tests"] = [{n: r[n] for n in ("test_name", "score", "max_score", "status")} for r in held]
    return Submission(
        code,
        _time(time),
        grade,
        outcome or None,
        talk=tuple(Talk("tutor", text) for text in told) if source.ai_feedback == "talk" else (),
        more=more,
    )


def _outcome(held: Sequence[Mapping[str, Any]]) -> tuple[str, float | None]:
    """What the autograder said, and the grade: the share of test cases passed where the table has them, else the
    share of points. Rows of one program count by their points. Raises BadRowError for what is neither."""
    lines, points, got = [], 0.0, 0.0
    for row in held:
        full, score = number_of(row, "max_score"), number_of(row, "score")
        if not 0 <= score <= full + 1e-9:
            raise BadRowError(f"'score' is {row['score']!r}, outside 0 to {full:g}")
        mask = _mask(row)
        points += full
        got += full * sum(mask) / len(mask) if mask else score
        name = text_of(row, "test_name")
        lines.append(
            f"{name}: {sum(mask)} of {len(mask)} test cases passed" if mask else f"{name}: {text_of(row, 'status')}"
        )
    return "\n".join(lines), got / points if points else None


def _mask(row: Mapping[str, Any]) -> list[int]:
    """Passed (1) or failed (0) for every test case; empty when it is not known."""
    text = text_of(row, "testcase_mask", allow_empty=True)
    if not text.strip():
        return []
    try:
        mask = json.loads(text)
    except ValueError:
        mask = None
    if not isinstance(mask, list) or not all(type(item) is int and item in (0, 1) for item in mask):
        raise BadRowError(f"'testcase_mask' should be a list of 0 and 1, not {text!r:.40}")
    return mask


def _time(text: str) -> str:
    """``2025-10-17-14-22-59`` as ISO 8601."""
    name = "submission_timestamp"
    match = re.fullmatch(r"(\d{4}-\d\d-\d\d)-(\d\d)-(\d\d)-(\d\d)", text.strip())
    return timestamp("{}T{}:{}:{}".format(*match.groups()) if match else text, name)


def _file(folder: Path, row: Mapping[str, Any], where: tuple[str, str, str]) -> str:
    """The file that was handed in. Raises BadRowError when it is not there, or not text."""
    root = (folder / "all_labs").resolve()
    path = root.joinpath(*where, text_of(row, "source_file")).resolve()
    if not path.is_relative_to(root) or not path.is_file():
        raise BadRowError(f"there is no file {row['source_file']!r} of that submission in all_labs")
    try:
        return program(path.read_text(encoding="utf-8-sig"), path.name)
    except UnicodeDecodeError as error:
        raise BadRowError(f"{row['source_file']!r}: not UTF-8 text (byte {error.start})") from None
