"""Sums per student of what a method's steps and rollouts show, and which steps of two methods belong together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simstudent.evaluation.statistics import Array, Totals
from simstudent.evaluation.steps import Codes, Steps, steps_of, unit, usable
from simstudent.evaluation.wholes import Wholes, wholes_of
from simstudent.rollout.records import Rollout


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """The usable rollouts of one method in columns: ``steps``, and ``wholes`` (a row a rollout, by ``steps.rollout``).

    ``students``: their ids in order; ``student``: of each rollout, an index into them.
    """

    method: str
    rollouts: Sequence[Rollout]
    steps: Steps
    wholes: Wholes
    students: tuple[str, ...]
    student: Codes

    @property
    def step_student(self) -> Codes:
        """The student of each step."""
        return self.student[self.steps.rollout]


def evidence(rollouts: Sequence[Rollout], *, codebleu: bool, language: str) -> list[Evidence]:
    """The columns of each method, in the order in which methods first appear. Unusable rollouts are left out.

    Programs are compared and CodeBLEU computed once over all methods; what is found for one depends on no other.
    """
    kept = sorted((r for r in rollouts if usable(r)), key=unit)
    steps = steps_of(kept, codebleu=codebleu, language=language)
    found = []
    for method in dict.fromkeys(r.method for r in rollouts):
        mine = np.array([r.method == method for r in kept], dtype=np.bool_)
        own = [r for r in kept if r.method == method]
        part = steps.where(mine[steps.rollout])
        # The numbers of the rollouts among those of this method.
        moved = (np.cumsum(mine) - 1)[part.rollout]
        part = Steps(moved, part.k, part.values, part.codes, part.sizes)
        students = tuple(sorted({r.student for r in own}))
        number = {student: at for at, student in enumerate(students)}
        who = np.array([number[r.student] for r in own], dtype=np.int64)
        found.append(Evidence(method, own, part, wholes_of(own), students, who))
    return found


def totals(values: Array, student: Codes, students: int, k: Codes | None = None, steps: int = 1) -> Totals:
    """Sums and numbers of the values that are there, per student and step, each of shape (students, steps)."""
    known = ~np.isnan(values)
    cells = student * steps + (0 if k is None else k - 1)
    size, shape = students * steps, (students, steps)
    sums = np.bincount(cells[known], values[known], minlength=size).astype(np.float64)
    counts = np.bincount(cells[known], minlength=size).astype(np.float64)
    return Totals(sums.reshape(shape), counts.reshape(shape))


def partners(own: Evidence, other: Evidence) -> NDArray[np.int64]:
    """For each step of one method the row of the other's step from the same start, sample and k; -1 without one.

    A method that was rolled out once from a start (a baseline, a greedy model) stands beside every sample of the other.
    """
    rows: dict[tuple[str, str, int, int], dict[int, int]] = {}
    for row, (number, k) in enumerate(zip(other.steps.rollout.tolist(), other.steps.k.tolist(), strict=True)):
        student, assignment, start, sample = other.wholes.units[number]
        rows.setdefault((student, assignment, start, k), {})[sample] = row
    found = np.full(len(own.steps.k), -1, dtype=np.int64)
    nothing: Mapping[int, int] = {}
    for row, (number, k) in enumerate(zip(own.steps.rollout.tolist(), own.steps.k.tolist(), strict=True)):
        student, assignment, start, sample = own.wholes.units[number]
        samples = rows.get((student, assignment, start, k), nothing)
        found[row] = next(iter(samples.values())) if len(samples) == 1 else samples.get(sample, -1)
    return found
