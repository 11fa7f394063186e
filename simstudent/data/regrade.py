"""Grades and feedback for logged submissions, from the same graders that judge simulated ones.

What the log says and what the graders say can differ; a dialogue and every figure use the graders' word, and
the share of agreement is reported.
"""

from __future__ import annotations

import dataclasses
import sqlite3
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from graders import Grade, Pool
from graders.cache import GradeCache
from simstudent.cache import cache_folder
from simstudent.data.records import Assignment, Submission, Trajectory
from simstudent.errors import SimstudentError
from simstudent.recipe import GraderSection

_AT_ONCE = 512  # trajectories handed to the graders together

AGREE = 1e-3
"""Logged and regraded scores that differ by less agree (logs are often rounded to four digits)."""


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A submission whose logged grade is not what the graders say. ``number`` counts from 1."""

    key: str
    number: int
    logged: float
    grade: Grade

    @property
    def verdict(self) -> bool:
        """Whether they differ in full marks or not, and not just in how much was right."""
        return _full(self.logged) != _full(self.grade.score)

    def to_dict(self) -> dict[str, Any]:
        return {
            "key": self.key,
            "submission": self.number,
            "logged": self.logged,
            "verdict": self.verdict,
            "grade": self.grade.to_dict(),
        }

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Disagreement:
        return cls(raw["key"], raw["submission"], raw["logged"], Grade.from_dict(raw["grade"]))


def _full(score: float) -> bool:
    return score > 1 - AGREE


def open_pool(section: GraderSection) -> Pool:
    """The grader processes of a recipe, with verdicts cached on disk. Close it (``with``).

    Without a cache it takes longer and comes to the same: a place that cannot be used for one is warned about.
    """
    path = cache_folder() / "grades.sqlite"
    cache: GradeCache | None = None
    try:
        cache = GradeCache(path)
    except (OSError, sqlite3.DatabaseError) as error:
        warnings.warn(
            f"{path}: no cache of grades ({error}); grading goes on, each program anew (SIMSTUDENT_CACHE names another "
            "folder)",
            stacklevel=2,
        )
    return Pool(section.workers, cache=cache)


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
    done, found = 0, {}
    for t, grades in graded(trajectories, assignments, pool):
        if assignments[t.assignment].problem is not None:
            for number, grade in enumerate(grades, 1):
                if grade.status == "grader_error":
                    raise SimstudentError(f"the grader failed on {t.key}, submission {number}: {grade.message}")
            done += len(grades)
            progress(done)
        found[t.key] = grades
    return found


def graded(
    trajectories: Iterable[Trajectory], assignments: Mapping[str, Assignment], pool: Pool
) -> Iterator[tuple[Trajectory, tuple[Grade, ...]]]:
    """The trajectories of a stream, each with the grades of its submissions.

    Without tests it is the logged grade. Failures of the graders come as ``grader_error``.
    """
    stream = iter(trajectories)
    while held := list(islice(stream, _AT_ONCE)):
        problems = [assignments[t.assignment].problem for t in held]
        fresh = pool.grade_many(
            (s.code, problem) for t, problem in zip(held, problems, strict=True) if problem for s in t.submissions
        )
        for t, problem in zip(held, problems, strict=True):
            yield t, tuple(_logged(s) if problem is None else next(fresh) for s in t.submissions)


def _logged(submission: Submission) -> Grade:
    if submission.grade is None:
        return Grade(0.0, "grader_error", message="neither logged nor gradable")  # no score, and never read as one
    return Grade(submission.grade, "graded")


def disagreements(
    trajectories: Sequence[Trajectory], grades: Mapping[str, Sequence[Grade]], *, verdicts: bool | None = None
) -> list[Disagreement]:
    """Every submission whose logged grade is not the regraded one, in order.

    ``verdicts``: the log says only right or wrong, and that is what is compared; by default it does when it holds
    no grade between 0 and 1.
    """
    if verdicts is None:
        verdicts = {s.grade for t in trajectories for s in t.submissions} <= {0.0, 1.0, None}
    found = [
        Disagreement(t.key, number, s.grade, grade)
        for t in trajectories
        for number, (s, grade) in enumerate(zip(t.submissions, grades[t.key], strict=True), 1)
        if s.grade is not None and abs(s.grade - grade.score) >= AGREE
    ]
    return [d for d in found if d.verdict] if verdicts else found
