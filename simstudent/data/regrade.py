"""Grades and feedback for logged submissions, from the same graders that judge simulated ones.

What the log says and what the graders say can differ; a dialogue and every figure use the graders' word, and
the share of agreement is reported.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from graders import Grade, Pool, outcomes
from graders.cache import GradeCache
from graders.feedback import feedback
from simstudent.cache import cache_folder
from simstudent.data.records import Assignment, Submission, Trajectory, outcome_of
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


def _full(score: float) -> bool:
    return score > 1 - AGREE


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


@dataclass(slots=True)
class Agreement:
    """How often the graders say what the log says, by assignment; `rewrite` counts as it goes."""

    rows: dict[str, list[int]] = field(default_factory=dict)
    """Assignment -> submissions with a logged grade and tests; those with the same grade; with the same verdict (full
    marks or not)."""
    partial: int = 0
    """Logged grades between 0 and 1."""
    disagreements: list[Disagreement] = field(default_factory=list)
    """Those in grade."""
    failures: list[str] = field(default_factory=list)
    """Submissions that the graders failed on: not graded, whatever the log says."""
    graded: int = 0

    @property
    def verdicts(self) -> bool:
        """Whether the log says only right or wrong, so that verdicts are what can be compared."""
        return self.partial == 0

    def same(self, row: Sequence[int]) -> int:
        """The submissions of a row that agree."""
        return row[2] if self.verdicts else row[1]

    @property
    def told(self) -> list[Disagreement]:
        """The disagreements in what can be compared."""
        return [d for d in self.disagreements if d.verdict or not self.verdicts]

    @property
    def share(self) -> float | None:
        """The share of logged grades that agree, over all assignments; None when there is none to compare."""
        compared = sum(row[0] for row in self.rows.values())
        return sum(map(self.same, self.rows.values())) / compared if compared else None


def rewrite(
    trajectories: Iterable[Trajectory],
    assignments: Mapping[str, Assignment],
    pool: Pool,
    agreement: Agreement,
    progress: Callable[[int], None] = lambda done: None,
) -> Iterator[Trajectory]:
    """The trajectories with the graders' grades and full feedback in place of the logged ones.

    The logged grade stays in ``more`` as ``logged_grade``, the outcome of each test as ``tests``. A submission that
    the graders failed on has no grade, and is listed. Submissions to assignments without tests stay as they are.
    """
    for t, grades in graded(trajectories, assignments, pool):
        problem = assignments[t.assignment].problem
        if problem is None:
            yield t
            continue
        row = agreement.rows.setdefault(t.assignment, [0, 0, 0])
        made = []
        for number, (s, grade) in enumerate(zip(t.submissions, grades, strict=True), 1):
            more = {**s.more, "logged_grade": s.grade, "tests": outcomes(grade)}
            if grade.status == "grader_error":
                agreement.failures.append(f"{t.key}, submission {number}: {grade.message}")
                made.append(dataclasses.replace(s, grade=None, feedback=None, more=more))
                continue
            if s.grade is not None:
                same = abs(s.grade - grade.score) < AGREE
                row[0] += 1
                row[1] += same
                row[2] += _full(s.grade) == _full(grade.score)
                agreement.partial += 0 < s.grade < 1
                if not same:
                    agreement.disagreements.append(Disagreement(t.key, number, s.grade, grade))
            told = feedback(grade, problem, "full")
            made.append(dataclasses.replace(s, grade=grade.score, feedback=told, more=more))
        agreement.graded += len(grades)
        progress(agreement.graded)
        yield dataclasses.replace(t, submissions=tuple(made), outcome=outcome_of(tuple(made)))
