"""What a model of submissions does not know of a class, taken from the training students instead.

Who does which assignment and in what order, how long somebody goes on without success, and when submissions are made.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

from graders import Grade
from simstudent.data.pieces import instant
from simstudent.data.records import Trajectory
from simstudent.data.split import position
from simstudent.rollout.whole import Clock

T = TypeVar("T")

ENOUGH = 30
"""Trajectories of an assignment from which its own patience is estimated; with fewer, that of all assignments."""


@dataclass(frozen=True, slots=True)
class Habits:
    """Habits of a class. ``shares``: of the students who did an assignment, in the order in which they are done.

    ``patience``: for an assignment, or "" for all, the share of students who go on without success after attempt 1, 2,
    ...; ``longest``: the most attempts that anybody made. ``beginnings`` and ``pauses`` (seconds between attempts) by
    assignment, "" for all; empty where the log has no times.
    """

    shares: Mapping[str, float]
    patience: Mapping[str, Sequence[float]]
    longest: int
    beginnings: Mapping[str, Sequence[str]]
    pauses: Mapping[str, Sequence[float]]

    def most(self, seed: int, student: str, assignment: str) -> int:
        """How many attempts this student makes before it leaves an unsolved assignment."""
        going_on = self.patience.get(assignment) or self.patience[""]
        draw = position(seed, "patience", student, assignment)
        return next((n for n, share in enumerate(going_on, 1) if share <= draw), self.longest)

    def clock(self, seed: int, student: str, assignment: str) -> Clock:
        """When this student works: from a training student's beginning, with pauses that training students made."""
        beginnings = self.beginnings.get(assignment) or self.beginnings.get("", ())
        pauses = self.pauses.get(assignment) or self.pauses.get("", ())
        if not beginnings or not pauses:
            return lambda k: None
        begun = datetime.datetime.fromisoformat(_drawn(beginnings, seed, "begins", student, assignment))

        def clock(k: int) -> str:
            passed = sum(_drawn(pauses, seed, "pause", student, assignment, str(n)) for n in range(2, k + 1))
            return (begun + datetime.timedelta(seconds=passed)).isoformat()

        return clock


def _drawn(values: Sequence[T], seed: int, *parts: str) -> T:
    return values[int(len(values) * position(seed, *parts))]


def habits(training: Sequence[Trajectory], grades: Mapping[str, Sequence[Grade]]) -> Habits:
    """The habits of the training students; ``grades`` by the trajectories' keys."""
    students = {t.student for t in training}
    by_assignment: dict[str, list[Trajectory]] = {}
    for t in training:
        by_assignment.setdefault(t.assignment, []).append(t)
    lasting: dict[str, list[tuple[int, bool]]] = {"": []}
    for name, held in by_assignment.items():
        ends = [(len(t.submissions), grades[t.key][-1].score < 1.0) for t in held]
        lasting[""] += ends
        if len(held) >= ENOUGH:
            lasting[name] = ends
    beginnings: dict[str, list[str]] = {"": []}
    pauses: dict[str, list[float]] = {"": []}
    for t in training:
        times = [s.time for s in t.submissions if s.time is not None]
        if len(times) == len(t.submissions):
            gaps = [max(0.0, b - a) for a, b in pairwise(map(instant, times))]
            for name in (t.assignment, ""):
                beginnings.setdefault(name, []).append(times[0])
                pauses.setdefault(name, []).extend(gaps)
    return Habits(
        {name: len({t.student for t in by_assignment[name]}) / len(students) for name in _order(training)},
        {name: going_on(ends) for name, ends in lasting.items()},
        max(len(t.submissions) for t in training),
        beginnings,
        pauses,
    )


def going_on(ends: Sequence[tuple[int, bool]]) -> list[float]:
    """The share that goes on after attempt 1, 2, ... without success: Kaplan and Meier's estimate.

    ``ends``: for each student the attempts made, and whether they were left without success. Who succeeds is no longer
    watched (censored): how long that student would have gone on is not known.
    """
    shares, share = [], 1.0
    for n in range(1, max((count for count, _ in ends), default=0) + 1):
        watched = sum(count >= n for count, _ in ends)
        share *= 1 - sum(left and count == n for count, left in ends) / watched
        shares.append(share)
    return shares


def _order(training: Sequence[Trajectory]) -> list[str]:
    """Assignments in the order in which students begin them, on average; by name where times do not tell."""
    begun: dict[str, list[tuple[float, str]]] = {}
    for t in training:
        if t.submissions[0].time is not None:
            begun.setdefault(t.student, []).append((instant(t.submissions[0].time), t.assignment))
    ranks: dict[str, list[float]] = {t.assignment: [] for t in training}
    for mine in begun.values():
        for rank, (_, name) in enumerate(sorted(mine)):
            ranks[name].append(rank / len(mine))
    return sorted(ranks, key=lambda name: (sum(ranks[name]) / len(ranks[name]) if ranks[name] else 1.0, name))
