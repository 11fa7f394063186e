"""Whether one population of programs covers another: neighbourhoods in both directions, and what one program covers.

The neighbourhood of a program reaches to the ``NEIGHBOURS``-th nearest *other student* of its own side, since a
student's own submissions are near to one another whatever others write. It is covered when a program of the other side
lies within. This is the coverage of Naeem et al., "Reliable Fidelity and Diversity Metrics for Generative Models" (ICML
2020), whose neighbours are single samples. Distance: the normalised Indel distance of texts, within an assignment; a
learned embedding would need a model, and its figures would change with the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rapidfuzz import process
from rapidfuzz.distance import Indel

from simstudent.evaluation.populations import first_steps
from simstudent.evaluation.spread import cores
from simstudent.evaluation.statistics import Array
from simstudent.evaluation.steps import Codes
from simstudent.evaluation.totals import Evidence

NEIGHBOURS = 1
"""Few, because a class has few students for an assignment: half of them have to be more than this many."""
PROGRAMS = 64
"""Programs of an assignment that are compared, at most: the work grows with their square."""


@dataclass(frozen=True, slots=True, eq=False)
class Neighbours:
    """Distances of the programs of one assignment; row i is a start, with its simulated and its real program.

    ``student``: of each row; ``students``: of each column. ``real_simulated`` is of each real program to the nearest
    simulated one of each student, and so on; shape (rows, students), infinite where the column is the row's own
    student. ``programs``: of each real program to each real program, shape (rows, rows).
    """

    student: Codes
    students: Codes
    real_real: Array
    real_simulated: Array
    simulated_real: Array
    simulated_simulated: Array
    programs: Array


@dataclass(frozen=True, slots=True)
class Missed:
    """Shares of ``n`` programs not covered: ``real`` by the simulation, ``simulated`` by real ones, ``ceiling``: real
    by real ones, ``single``: real by the one real program that covers most, of each assignment. NaN without programs.
    """

    n: int
    real: float
    simulated: float
    ceiling: float
    single: float


def neighbours(own: Evidence, seed: int) -> list[Neighbours]:
    """Of the assignments with enough students, their first simulated steps, as in ``populations.diversities``."""
    text, student_text = own.steps.codes["text"], own.steps.codes["student_text"]
    rows = np.flatnonzero(first_steps(own) & (text >= 0) & (student_text >= 0))
    assignment, generator = own.assignment[own.steps.rollout[rows]], np.random.default_rng(seed)
    found = []
    for number in np.unique(assignment).tolist():
        mine = rows[assignment == number]
        if len(mine) > PROGRAMS:
            mine = generator.choice(mine, PROGRAMS, replace=False)
        student = own.step_student[mine]
        if len(np.unique(student)) > NEIGHBOURS:
            steps = [own.rollouts[at].steps[0] for at in own.steps.rollout[mine].tolist()]
            found.append(between(student, [str(s.code) for s in steps], [s.student_code for s in steps]))
    return found


def between(student: Codes, simulated: Sequence[str], real: Sequence[str]) -> Neighbours:
    """The distances of programs of one assignment, ``student`` being whose they are."""
    order = np.argsort(student, kind="stable")
    students, begins = np.unique(student[order], return_index=True)

    def apart(one: Sequence[str], other: Sequence[str]) -> Array:
        return process.cdist(one, other, scorer=Indel.normalized_distance, dtype=np.float64, workers=cores())

    def nearest(distances: Array) -> Array:
        least = np.minimum.reduceat(distances[:, order], begins, axis=1)
        return np.where(student[:, None] == students, np.inf, least)

    programs, across = apart(real, real), apart(real, simulated)
    sides = nearest(programs), nearest(across), nearest(across.T), nearest(apart(simulated, simulated))
    return Neighbours(student, students, *sides, programs)


def missed(found: Sequence[Neighbours], whose: NDArray[np.bool_], by: NDArray[np.bool_]) -> Missed:
    """What of the programs of the students ``whose`` those of the students ``by`` do not cover.

    Both are masks of all students; where they share some, nobody's program is covered by the same student's. Only
    assignments with more than ``NEIGHBOURS`` students among ``whose`` and one among ``by`` count.
    """
    sums, n = np.zeros(4), 0
    for f in found:
        rows, around, others = whose[f.student], whose[f.students], by[f.students]
        if around.sum() <= NEIGHBOURS or not others.any():
            continue
        real, simulated = (_reach(side[rows][:, around]) for side in (f.real_real, f.simulated_simulated))
        sums += [
            (f.real_simulated[rows][:, others].min(axis=1) > real).sum(),
            (f.simulated_real[rows][:, others].min(axis=1) > simulated).sum(),
            (f.real_real[rows][:, others].min(axis=1) > real).sum(),
            (f.programs[rows][:, by[f.student]] > real[:, None]).sum(axis=0).min(),
        ]
        n += int(rows.sum())
    return Missed(n, *(sums / n if n else np.full(4, np.nan)).tolist())


def _reach(distances: Array) -> Array:
    """How far neighbourhoods reach; ``distances`` to the students around, shape (programs, students)."""
    return np.asarray(np.partition(distances, NEIGHBOURS - 1, axis=1)[:, NEIGHBOURS - 1])
