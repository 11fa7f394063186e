"""Sums per student of what a method's steps and rollouts show, and which steps of two methods belong together."""

from __future__ import annotations

from collections.abc import Sequence
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

    ``students``: their ids in order; ``student``: of each rollout, an index into them; ``assignment``: of each rollout
    a number, in the order of the ids. ``place``: of each rollout, a number of student, assignment and start, the same
    for all methods that are evaluated together.
    """

    method: str
    rollouts: Sequence[Rollout]
    steps: Steps
    wholes: Wholes
    students: tuple[str, ...]
    student: Codes
    assignment: Codes
    place: Codes

    @property
    def step_student(self) -> Codes:
        """The student of each step."""
        return self.student[self.steps.rollout]


def evidence(rollouts: Sequence[Rollout], *, codebleu: bool, language: str, lint: bool = False) -> list[Evidence]:
    """The columns of each method, in the order in which methods first appear. Unusable rollouts are left out.

    Programs are compared and CodeBLEU computed once over all methods; what is found for one depends on no other.
    """
    kept = sorted((r for r in rollouts if usable(r)), key=unit)
    steps = steps_of(kept, codebleu=codebleu, language=language, lint=lint)
    places: dict[tuple[str, str, int], int] = {}
    place = [places.setdefault((r.student, r.assignment, r.start), len(places)) for r in kept]
    where = np.array(place, dtype=np.int64)
    found = []
    for method in dict.fromkeys(r.method for r in rollouts):
        mine = np.array([r.method == method for r in kept], dtype=np.bool_)
        own = [r for r in kept if r.method == method]
        part = steps.where(mine[steps.rollout])
        # The numbers of the rollouts among those of this method.
        moved = (np.cumsum(mine) - 1)[part.rollout]
        part = Steps(moved, part.k, part.values, part.codes, part.sizes)
        students, who = numbered([r.student for r in own])
        assignment = numbered([r.assignment for r in own])[1]
        found.append(Evidence(method, own, part, wholes_of(own), students, who, assignment, where[mine]))
    return found


def numbered(names: Sequence[str]) -> tuple[tuple[str, ...], Codes]:
    """The different names in order, and of each of ``names`` its place among them."""
    different = tuple(sorted(set(names)))
    number = {name: at for at, name in enumerate(different)}
    return different, np.array([number[name] for name in names], dtype=np.int64)


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
    if not len(own.steps.k) or not len(other.steps.k):
        return np.full(len(own.steps.k), -1, dtype=np.int64)
    (mine, my_samples), (theirs, samples) = (_places(e) for e in (own, other))
    most = int(max(my_samples.max(), samples.max())) + 1
    places, first, counts = np.unique(theirs, return_index=True, return_counts=True)
    at = np.searchsorted(places, mine).clip(max=len(places) - 1)
    exact = theirs * most + samples
    order = np.argsort(exact)
    same = order[np.searchsorted(exact, mine * most + my_samples, sorter=order).clip(max=len(order) - 1)]
    same = np.where(exact[same] == mine * most + my_samples, same, -1)
    return np.where(places[at] != mine, -1, np.where(counts[at] == 1, first[at], same))


def _places(e: Evidence) -> tuple[Codes, Codes]:
    """Of each step a number of its start and k, the same for every method, and its sample."""
    samples = np.array([unit[3] for unit in e.wholes.units], dtype=np.int64)
    return e.place[e.steps.rollout] * (1 << 20) + e.steps.k, samples[e.steps.rollout]
