"""Writes the made-up log: ``python -m simstudent.data.samples.falconcode.generate`` makes all of its files anew.

Nobody wrote these programs. Who is there, which way they go and when comes out of a seeded random generator; the
scores are real, given by the problems' scripts. ``labs`` holds problems and programs. The same log is written twice:
as the hub's table (``hub/``), and as the tables of the original release (``release/``).
"""

from __future__ import annotations

import csv
import hashlib
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from string import Template
from typing import Any

from graders import Pool, Problem
from simstudent.data.samples.falconcode.labs import LABS, Lab

SEED = 6
COURSES = {2: ("Spring", 2021, 10), 4: ("Spring", 2022, 8)}
"""Semester, year and number of students."""
SPLITS = {2: "train", 4: "test"}
SAME = 1.0 / 8  # of the submissions are handed in once more without a change
LOCAL = 1.0 / 4  # are run alone before
GIVE_UP = 1.0 / 10  # of the trajectories stop before their end
ABSENT = 1.0 / 5  # of the labs are not done by a student


@dataclass(frozen=True)
class Run:
    """A row of the runs' table. ``score`` are points; -1: run by the student alone."""

    student: str
    course: int
    problem: str
    time: str
    score: float
    code: str
    redacted: int


def runs() -> list[Run]:
    """All runs, by time."""
    chance = random.Random(SEED)
    found = []
    with Pool() as pool:
        for course, (_, year, count) in COURSES.items():
            for _ in range(count):
                found += _of_student(chance, pool, course, datetime(year, 1, 18, 8, 30))
    return sorted(found, key=lambda run: (run.course, run.time, run.student))


def _of_student(chance: random.Random, pool: Pool, course: int, first: datetime) -> list[Run]:
    student = f"{chance.getrandbits(40):010x}"
    header = chance.choice(("", "", "# CS 110\n", "# Documentation: none\n", "# [REDACTED]\n"))
    found = []
    for week, lab in enumerate(LABS):
        if chance.random() < ABSENT:
            continue
        names = {key: chance.choice(options) for key, options in lab.names.items()}
        path = list(chance.choice(lab.paths))
        if chance.random() < GIVE_UP:
            path = path[: chance.randint(1, len(path))]
        time = first + timedelta(days=7 * week + chance.randint(0, 1), minutes=chance.randint(0, 90))
        for stage in path:
            code = header + Template(lab.stages[stage]).substitute(names)
            score = _points(pool, lab, code)
            kinds = [-1.0] * (chance.random() < LOCAL) + [score] * (1 + (chance.random() < SAME))
            for points in kinds:
                time += timedelta(seconds=chance.randint(20, 600))
                found.append(Run(student, course, lab.id, str(time), points, code, int("REDACTED" in header)))
    return found


def _points(pool: Pool, lab: Lab, code: str) -> float:
    """What the script gives; the project, which has none, is never handed in to it."""
    if not lab.script:
        return -1.0
    grade = pool.grade(code, Problem(lab.id, autograder=lab.script, max_points=lab.max_score))
    assert grade.status != "grader_error", grade
    return grade.score * lab.max_score


def write(folder: Path) -> None:
    """Write both forms of the log."""
    found = runs()
    (folder / "hub").mkdir(exist_ok=True)
    (folder / "release").mkdir(exist_ok=True)
    for course, split in SPLITS.items():
        _hub(folder / "hub" / f"{split}-00000-of-00001.parquet", [run for run in found if run.course == course])
    _release(folder / "release", found)


def _hub(path: Path, found: Sequence[Run]) -> None:
    import pyarrow
    import pyarrow.parquet

    labs = {lab.id: lab for lab in LABS}
    table = [
        {
            "problem_id": run.problem,
            "course_id": run.course,
            "prompt": labs[run.problem].prompt,
            "source_code": run.code,
            "student_id": run.student,
            "score": -1.0 if run.score < 0 else 100 * run.score / labs[run.problem].max_score,
            "timestamp": run.time,
            "testcase": labs[run.problem].script,
            "type": labs[run.problem].type,
            "exam": labs[run.problem].exam,
            "redacted": run.redacted,
            "max_score": labs[run.problem].max_score,
        }
        for run in found
    ]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(table), path, compression="zstd")


def _release(folder: Path, found: Sequence[Run]) -> None:
    students = sorted({(run.student, run.course) for run in found})
    codes = {_hash(run.code): run for run in found}
    _csv(
        folder / "falconcode_v1_table_courses.csv",
        ({"id": course, "semester": semester, "year": year} for course, (semester, year, _) in COURSES.items()),
    )
    _csv(folder / "falconcode_v1_table_students.csv", ({"id": s, "course_id": course} for s, course in students))
    _csv(
        folder / "falconcode_v1_table_problems.csv",
        (
            {
                "id": lab.id,
                "course_id": course,
                "prompt": _html(lab.prompt),
                "testcase": lab.script,
                "type": lab.type,
                "exam": lab.exam,
                "max_score": lab.max_score,
            }
            for course in COURSES
            for lab in LABS
        ),
    )
    _csv(
        folder / "falconcode_v1_table_runs.csv",
        (
            {
                "student_id": run.student,
                "course_id": run.course,
                "problem_id": run.problem,
                "timestamp": run.time,
                "score": f"{run.score:g}",
                "code_hash": _hash(run.code),
            }
            for run in found
        ),
    )
    _csv(
        folder / "falconcode_v1_code_samples.csv",
        ({"hash": key, "source_code": codes[key].code, "redacted": codes[key].redacted} for key in sorted(codes)),
    )


def _hash(code: str) -> str:
    return hashlib.md5(code.encode()).hexdigest()


def _html(prompt: str) -> str:
    """Markdown of the few kinds used here as HTML, which is what the release has."""
    blocks = []
    for block in prompt.split("\n\n"):
        if block.startswith("```"):
            blocks.append("<pre>" + block.strip("`\n") + "</pre>")
        else:
            parts = block.split("`")
            blocks.append("<p>" + "".join(f"<code>{p}</code>" if n % 2 else p for n, p in enumerate(parts)) + "</p>")
    return "\n".join(blocks)


def _csv(path: Path, table: Iterable[Mapping[str, Any]]) -> None:
    held = list(table)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(held[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(held)


if __name__ == "__main__":
    write(Path(__file__).parent)
