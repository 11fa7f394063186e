"""Splits by student: seeded hashing, so that a student's side does not change when others are added."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Literal

from simstudent.data.records import Trajectory
from simstudent.errors import SimstudentError

Side = Literal["train", "validation", "test"]
SIDES: tuple[Side, ...] = ("train", "validation", "test")


def position(seed: int, *parts: str) -> float:
    """A number in [0, 1) that depends on nothing but the seed and the text."""
    digest = hashlib.sha256("\x1f".join([str(seed), *parts]).encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def side_of(student: str, *, seed: int, test: float, validation: float) -> Side:
    """``test`` is a share of all students, ``validation`` a share of the others."""
    if position(seed, "test", student) < test:
        return "test"
    return "validation" if position(seed, "validation", student) < validation else "train"


def split(
    trajectories: Sequence[Trajectory], *, seed: int, test: float, validation: float
) -> dict[Side, tuple[Trajectory, ...]]:
    """The trajectories of each side. Raises SimstudentError when a side would hold no student."""
    sides: dict[Side, list[Trajectory]] = {side: [] for side in SIDES}
    for t in trajectories:
        sides[side_of(t.student, seed=seed, test=test, validation=validation)].append(t)
    students = len({t.student for t in trajectories})
    for side, held in sides.items():
        if not held:
            raise SimstudentError(
                f"data.split: no student of {students} falls on the {side} side (seed {seed}, test {test}, "
                f"validation {validation}). Take another data.split.seed, larger shares, or more students"
            )
    result = {side: tuple(held) for side, held in sides.items()}
    check_no_leak(result)
    return result


def check_no_leak(sides: Mapping[Side, Sequence[Trajectory]]) -> None:
    """Raises SimstudentError when a student stands on two sides."""
    seen: dict[str, Side] = {}
    for side, held in sides.items():
        for t in held:
            if seen.setdefault(t.student, side) != side:
                raise SimstudentError(f"split leak: student {t.student} is in both {seen[t.student]} and {side}")
