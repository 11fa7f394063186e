"""Grades and feedback for logged submissions, from the same graders that judge simulated ones.

What the log says and what the graders say can differ; a dialogue and every figure use the graders' word, and
the share of agreement is reported.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from graders import Grade, Pool, Problem
from graders.cache import GradeCache
from simstudent.cache import cache_folder
from simstudent.data.records import Assignment, Submission, Trajectory
from simstudent.errors import SimstudentError
from simstudent.recipe import GraderSection

AGREE = 1e-3
"""Logged and regraded scores that differ by less agree (logs are often rounded to four digits)."""


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A submission whose logged grade is not what the graders say. ``number`` counts from 1."""

    key: str
    number: int
    logged: float
    grade: Grade


def open_pool(section: GraderSection) -> Pool:
    """The grader processes of a recipe, with verdicts cached on disk. Close it (``with``)."""
    return Pool(section.workers, cache=GradeCache(cache_folder() / "grades.sqlite"))


def limited(assignments: Mapping[str, Assignment], section: GraderSection) -> dict[str, Assignment]:
    """The assignments with the recipe's CPU limit put over each problem's own."""
    if section.cpu_seconds is None:
        return dict(assignments)
    return {
        name: a
        if a.problem is None
        else dataclasses.replace(a, problem=dataclasses.replace(a.problem, cpu_seconds=section.cpu_seconds))
        for name, a in assignments.items()
    }


def regrade(
    trajectories: Sequence[Trajectory],
    assignments: Mapping[str, Assignment],
    pool: Pool,
    progress: Callable[[int], None] = lambda done: None,
) -> dict[str, tuple[Grade, ...]]:
    """Grades of every submission by trajectory key. Submissions to assignments without tests keep the logged grade.

    Raises SimstudentError when the graders themselves fail: a dialogue must not tell a student's program is
    wrong because a worker died.
    """
    items: list[tuple[str, Problem]] = []
    for t in trajectories:
        problem = assignments[t.assignment].problem
        if problem is not None:
            items += [(s.code, problem) for s in t.submissions]
    fresh = pool.grade_many(items)
    done, found = 0, {}
    for t in trajectories:
        problem = assignments[t.assignment].problem
        if problem is None:
            found[t.key] = tuple(_logged(s) for s in t.submissions)
            continue
        grades = tuple(next(fresh) for _ in t.submissions)
        for number, grade in enumerate(grades, 1):
            if grade.status == "grader_error":
                raise SimstudentError(f"the grader failed on {t.key}, submission {number}: {grade.message}")
        found[t.key] = grades
        done += len(grades)
        progress(done)
    return found


def _logged(submission: Submission) -> Grade:
    if submission.grade is None:
        return Grade(0.0, "grader_error", message="neither logged nor gradable")  # no score, and never read as one
    return Grade(submission.grade, "graded")


def disagreements(trajectories: Sequence[Trajectory], grades: Mapping[str, Sequence[Grade]]) -> list[Disagreement]:
    """Every submission whose logged grade is not the regraded one, in order."""
    return [
        Disagreement(t.key, number, s.grade, grade)
        for t in trajectories
        for number, (s, grade) in enumerate(zip(t.submissions, grades[t.key], strict=True), 1)
        if s.grade is not None and abs(s.grade - grade.score) >= AGREE
    ]
