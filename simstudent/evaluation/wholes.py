"""What a whole rollout shows beside the student: who solved it and when, who gave up, where it was."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simstudent.evaluation.steps import FULL_MARKS, Array, Unit, unit
from simstudent.rollout.records import Rollout

ROLLOUT_MEASURES = (
    "solved_within_steps",
    "student_solved_within_steps",
    "solved_difference",
    "gave_up",
    "student_gave_up",
)


@dataclass(frozen=True, slots=True, eq=False)
class Wholes:
    """One row a rollout. ``values``: a column per measure, NaN where unknown.

    ``solved_within_steps``: whether the simulation reached full marks; ``student_solved_within_steps`` is NaN where an
    uncovered step hides the student's grade and no other start of the same method shows it. ``solved_difference``:
    simulated minus real, where both are known. ``gave_up``: the simulated student said that it gives up, which leaves
    the steps from there on uncovered, or did so where the student did; ``student_gave_up``: within the steps the
    student stopped for good without full marks. ``solved_at``, ``student_solved_at``: the step of full marks, else 0.
    ``observed``: steps until the simulation solved it, gave up or ran out of real steps.

    ``length``: of the student's trajectory as far as the method's rollouts show it (a start nearer than K steps to the
    end shows all of it). ``grades``: the student's at steps 1, 2, ..., shape (rollouts, steps), NaN where unknown.
    """

    units: tuple[Unit, ...]
    method: tuple[str, ...]
    truths: NDArray[np.int64]
    length: NDArray[np.int64]
    values: Mapping[str, Array]
    grades: Array


def wholes_of(rollouts: Sequence[Rollout]) -> Wholes:
    """The rows of usable rollouts.

    After the simulation solved the task its record ends, and with it what it says of the student. The student's
    grades are then looked up in the same method's rollouts from other starts: submission t + j is step j from start
    t. Other methods are not consulted, so that a figure never depends on which methods are evaluated together.
    """
    known: dict[tuple[str, str, str], dict[int, float]] = {}  # the grade of each submission of a trajectory
    lengths: dict[tuple[str, str, str], int] = {}
    for r in rollouts:
        at = r.method, r.student, r.assignment
        theirs = known.setdefault(at, {})
        if r.previous_grade is not None:
            theirs[r.start] = r.previous_grade
        for step in r.steps:
            theirs[r.start + step.k] = step.student_grade
        lengths[at] = max(lengths.get(at, 0), r.start + r.truths)
    steps = max((r.truths for r in rollouts), default=1)
    grades = np.full((len(rollouts), steps), math.nan)
    rows = []
    for number, r in enumerate(rollouts):
        theirs = known[r.method, r.student, r.assignment]
        truths = [theirs.get(r.start + k, math.nan) for k in range(1, r.truths + 1)]
        grades[number, : r.truths] = truths
        rows.append(_row(r, truths))
    names = (*ROLLOUT_MEASURES, "solved_at", "student_solved_at", "observed")
    table = np.array(rows, dtype=np.float64).reshape(-1, len(names)).T
    return Wholes(
        tuple(unit(r) for r in rollouts),
        tuple(r.method for r in rollouts),
        np.array([r.truths for r in rollouts], dtype=np.int64),
        np.array([lengths[(r.method, r.student, r.assignment)] for r in rollouts], dtype=np.int64),
        dict(zip(names, table, strict=True)),
        grades,
    )


def _row(rollout: Rollout, truths: Sequence[float]) -> tuple[float, ...]:
    own: float = next((step.k for step in rollout.steps if step.grade >= FULL_MARKS), 0)
    student: float = next((k for k, grade in enumerate(truths, 1) if grade >= FULL_MARKS), 0)
    if not student and any(math.isnan(grade) for grade in truths):
        student = math.nan
    gave_up = float(rollout.stop == "give_up")
    if any(step.status == "constant" for step in rollout.steps):
        own = gave_up = math.nan
    solved, theirs = (at if math.isnan(at) else float(at > 0) for at in (own, student))
    student_gave_up = math.nan if rollout.student_gave_up is None else float(rollout.student_gave_up)
    observed = len(rollout.steps) if rollout.stop in ("solved", "give_up") else rollout.truths
    return solved, theirs, solved - theirs, gave_up, student_gave_up, own, student, observed
