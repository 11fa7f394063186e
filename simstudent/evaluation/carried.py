"""Do students' vectors carry anything? Held-out pairs of trained students and assignments, with the wrong vector too.

A vector that only says "a student of this course" does as well when students are exchanged. So the same programs are
scored with the true student's vector, with those of others, and with nobody's.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np

from simstudent.data.records import Trajectory
from simstudent.errors import SimstudentError
from simstudent.evaluation.bench import Bench, Compared, by_trajectory
from simstudent.training.scoring import as_student, score
from simstudent.training.students import NOBODY


def known(bench: Bench) -> list[Trajectory]:
    """Trajectories of the test side whose student was trained."""
    return [t for t in bench.data.sides["test"] if t.student in bench.trained.students.roster.numbers]


def exchangeable(held: Sequence[Trajectory]) -> bool:
    """Whether there are two students at least, so that one can be taken for another."""
    return len({t.student for t in held}) > 1


def carried(bench: Bench, held: Sequence[Trajectory], *, shuffles: int) -> Compared:
    """``true``, ``shuffled`` and ``nobody`` on held-out trajectories of trained students.

    ``shuffled`` is the mean loss over so many random exchanges of students, in which nobody keeps their own vector.
    Raises SimstudentError with a single student: ask `exchangeable` first.
    """
    rows = bench.rows(held)
    students = {t.key: t.student for t in held}
    names = sorted(set(students.values()))
    if len(names) < 2:
        raise SimstudentError(f"one trained student on the test side, {names[0]}, has no other to be exchanged with")
    bench.say(f"Held-out trajectories of trained students: {len(held)} of {len(names)} students")
    numbers = bench.trained.students.roster.numbers
    exchanged = []
    for draw in range(shuffles):
        order = list(names)
        random.Random(f"{bench.seed}/{draw}").shuffle(order)
        other = dict(zip(order, [*order[1:], order[0]], strict=True))
        exchanged.append(score(bench.trained, [as_student(r, numbers[other[students[r.key]]]) for r in rows]))
    losses = {
        "true": score(bench.trained, rows),
        "shuffled": np.mean(exchanged, axis=0),
        "nobody": score(bench.trained, [as_student(r, NOBODY) for r in rows]),
    }
    return bench.compare({name: by_trajectory(rows, own) for name, own in losses.items()}, students, "true")
