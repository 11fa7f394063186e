"""The tables of FalconCode's original release, joined row by row into what the hub's table holds.

Names by the schema of March 2023 (https://falconcode.dfcs-cloud.net/schema.php). The students' table (gender,
ethnicity, major) is not read.
"""

from __future__ import annotations

import re
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simstudent.data import rows
from simstudent.data.rows import BadRowError, Broken, Place, Skips, Unit, code_of, text_of
from simstudent.errors import SimstudentError
from simstudent.section import Section


class ReleaseColumns(Section):
    """The release's files (patterns within its folder) and their columns."""

    runs: str = "*runs*"
    student: str = "student_id"
    course: str = "course_id"
    """Of runs and of problems."""
    problem: str = "problem_id"
    time: str = "timestamp"
    score: str = "score"
    code_hash: str = "code_hash"

    code_samples: str = "*code_samples*"
    hash: str = "hash"
    code: str = "source_code"
    redacted: str = "redacted"

    problems: str = "*problems*"
    problem_id: str = "id"
    prompt: str = "prompt"
    script: str = "testcase"
    type: str = "type"
    exam: str = "exam"
    max_score: str = "max_score"
    lesson: str = "lesson"

    courses: str = "*courses*"
    """May be missing: then ``terms`` of the recipe says which term a course was."""
    course_id: str = "id"
    semester: str = "semester"
    year: str = "year"


@dataclass(frozen=True, slots=True)
class _Around:
    """What surrounds the runs: problems by id and course, terms by course, programs by hash on disk."""

    problems: Mapping[tuple[str, str], dict[str, Any]]
    terms: Mapping[str, str]
    programs: sqlite3.Connection


def units(folder: Path, names: ReleaseColumns) -> list[Unit]:
    """The parts of the runs' table. Raises SimstudentError when a table of the release is missing."""
    for pattern in (names.problems, names.code_samples):
        _table(folder, pattern)
    return rows.units([_table(folder, names.runs)])


def joined(folder: Path, unit: Unit, names: ReleaseColumns, skips: Skips) -> Iterator[tuple[Place, Mapping[str, Any]]]:
    """(place, row) for every run, under the hub's column names. Memory holds the problems, not the programs.

    Raises SimstudentError when a problem or a course is broken; broken programs and runs go to ``skips``.
    """
    with _around(folder, names, skips) as around:
        for place, run in rows.rows(unit):
            try:
                yield place, _join(run, names, around)
            except BadRowError as error:
                yield place, Broken(str(error))


def _join(run: Mapping[str, Any], names: ReleaseColumns, around: _Around) -> dict[str, Any]:
    """A run with its problem, program and term. Raises BadRowError when one of them is not in the release."""
    problem, course = text_of(run, names.problem).strip(), optional(run, names.course)
    told = around.problems.get((problem, course))
    if told is None:
        raise BadRowError(f"problem {problem!r} of course {course!r} is not in the problems' table")
    code_hash = text_of(run, names.code_hash).strip()
    found = around.programs.execute("SELECT code, redacted FROM programs WHERE hash = ?", [code_hash]).fetchone()
    if found is None:
        raise BadRowError(f"no program with the hash {code_hash!r} is in the code samples' table")
    return {
        **run,
        **told,
        "student_id": rows.value_of(run, names.student),
        "problem_id": problem,
        "course_id": course,
        "timestamp": rows.value_of(run, names.time),
        "score": rows.value_of(run, names.score),
        "source_code": found[0],
        "redacted": found[1],
        "term": around.terms.get(course, ""),
    }


@contextmanager
def _around(folder: Path, names: ReleaseColumns, skips: Skips) -> Iterator[_Around]:
    with (
        tempfile.TemporaryDirectory(prefix="simstudent-") as place,
        closing(sqlite3.connect(Path(place) / "programs.sqlite")) as programs,
    ):
        programs.execute("PRAGMA synchronous = OFF")
        programs.execute("PRAGMA journal_mode = OFF")
        programs.execute("CREATE TABLE programs (hash TEXT PRIMARY KEY, code TEXT, redacted TEXT) WITHOUT ROWID")
        programs.executemany("INSERT OR IGNORE INTO programs VALUES (?, ?, ?)", _programs(folder, names, skips))
        yield _Around(_problems(folder, names), _terms(folder, names), programs)


def _programs(folder: Path, names: ReleaseColumns, skips: Skips) -> Iterator[tuple[str, str, str]]:
    """(hash, code, redacted) of the code samples."""
    for place, row in _rows(_table(folder, names.code_samples)):
        try:
            code = code_of(row, names.code, allow_missing=True)
            yield text_of(row, names.hash).strip(), code, optional(row, names.redacted)
        except BadRowError as error:
            skips(place, error)


def _problems(folder: Path, names: ReleaseColumns) -> dict[tuple[str, str], dict[str, Any]]:
    """Problems by id and course, under the hub's column names. A broken one stops: all its runs would be lost."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for place, row in _rows(_table(folder, names.problems)):
        try:
            key = text_of(row, names.problem_id).strip(), optional(row, names.course)
            told: dict[str, Any] = {"prompt": _markdown(text_of(row, names.prompt))}
            for name in ("script", "type", "exam", "max_score", "lesson"):
                column = getattr(names, name)
                told["testcase" if name == "script" else name] = row.get(column)
            if found.setdefault(key, told) != told:
                raise BadRowError(f"problem {key[0]!r} of course {key[1]!r} stands twice, differently")
        except BadRowError as error:
            raise SimstudentError(f"{place}: {error}") from None
    return found


def _terms(folder: Path, names: ReleaseColumns) -> dict[str, str]:
    """The term of each course, such as "Spring 2021"; none without a courses' table."""
    found: dict[str, str] = {}
    if not _fitting(folder, names.courses):
        return found
    for place, row in _rows(_table(folder, names.courses)):
        try:
            semester, year = text_of(row, names.semester).strip(), text_of(row, names.year).strip()
            found[text_of(row, names.course_id).strip()] = semester if year in semester else f"{semester} {year}"
        except BadRowError as error:
            raise SimstudentError(f"{place}: {error}") from None
    return found


def _fitting(folder: Path, pattern: str) -> list[Path]:
    """The tables whose names fit a pattern. Raises SimstudentError when the folder is none."""
    if not folder.is_dir():
        raise SimstudentError(f"data.source.release: {folder} is not a folder (relative to the recipe's folder)")
    return sorted(p for p in folder.glob(pattern) if p.suffix.lower() in rows.SUFFIXES)


def _table(folder: Path, pattern: str) -> Path:
    """The one table whose name fits a pattern. Raises SimstudentError when there is none, or several."""
    found = _fitting(folder, pattern)
    if len(found) == 1:
        return found[0]
    names = ", ".join(p.name for p in (found or sorted(folder.iterdir()))) or "nothing"
    count = f"{len(found)} tables fit {pattern!r}" if found else f"no table fits {pattern!r}"
    raise SimstudentError(
        f"data.source.release: {count} in {folder} ({names}); name the file in data.source.release_columns"
    )


def _rows(path: Path) -> Iterator[tuple[Place, Mapping[str, Any]]]:
    for unit in rows.units([path]):
        yield from rows.rows(unit)


def optional(row: Mapping[str, Any], name: str) -> str:
    """A number or text as text; empty where there is none."""
    return "" if name not in row or row[name] in (None, "") else text_of(row, name).strip()


_HTML = re.compile(r"<(p|br|div|span|h[1-6]|table|ul|ol|li|pre|code|b|strong|em)\b[^>]*>", re.IGNORECASE)


def _markdown(text: str) -> str:
    """A statement as Markdown; the release has HTML."""
    if not _HTML.search(text):
        return text
    try:
        from markdownify import markdownify
    except ImportError:
        raise SimstudentError(
            "data.source.release: the statements are HTML, and turning them into text needs the package markdownify: "
            'pip install "simstudent[falconcode]", or pip install markdownify'
        ) from None
    return re.sub(r"\n{3,}", "\n\n", str(markdownify(text, heading_style="ATX"))).strip()
