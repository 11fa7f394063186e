"""Made-up trajectories for tests of selection, splits and variants."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from simstudent.data.records import Submission, Trajectory, outcome_of


def trajectory(
    student: str, *grades: float | None, codes: str | list[str] = "", assignment: str = "a", **more: Any
) -> Trajectory:
    """One submission a grade; ``codes``: a program each; ``more`` goes to every submission, ``times`` one each."""
    times = more.pop("times", [None] * len(grades))
    submissions = tuple(
        Submission(codes[n] if codes else f"c{n}", times[n], grade, more=more) for n, grade in enumerate(grades)
    )
    return Trajectory(student, assignment, submissions, outcome_of(submissions))


def many(students: int, assignments: int) -> Iterator[Trajectory]:
    """Every student with every assignment, each program once in the world."""
    for s in range(students):
        for a in range(assignments):
            yield trajectory(f"s{s}", 0.0, 1.0, codes=[f"{s} {a} 0", f"{s} {a} 1"], assignment=f"a{a}")
