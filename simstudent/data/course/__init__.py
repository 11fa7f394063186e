"""A made-up programming course, for trying the toolkit without anybody's data.

Nothing in it was written by a student. The students, their programs and the times come out of the seeded generator in
this folder; only the grades are real, given by the graders. It shows that a pipeline runs, never how people learn.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

from simstudent.data.records import Assignment, Corpus, Submission, Trajectory, outcome_of

SOURCE = "made-up course"


def load() -> Corpus:
    """The course as it is packaged: trajectories by student, then in the order of the course."""
    assignments = {raw["id"]: Assignment.from_dict(raw) for raw in _read("assignments.jsonl")}
    logged: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for raw in _read("submissions.jsonl"):
        logged.setdefault((raw["student"], raw["assignment"]), []).append(raw)
    place = {name: number for number, name in enumerate(assignments)}
    keys = sorted(logged, key=lambda key: (key[0], place[key[1]]))
    return Corpus(assignments, tuple(_trajectory(key, logged[key]) for key in keys))


def _trajectory(key: tuple[str, str], rows: list[dict[str, Any]]) -> Trajectory:
    rows = sorted(rows, key=lambda row: int(row["attempt"]))
    submissions = tuple(Submission(row["code"], row["time"], row["grade"]) for row in rows)
    return Trajectory(*key, submissions, outcome_of(submissions), SOURCE)


def _read(name: str) -> Iterator[dict[str, Any]]:
    text = files(__name__).joinpath(name).read_text(encoding="utf-8")
    return (json.loads(line) for line in text.splitlines())
