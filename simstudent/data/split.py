"""Splits: which side a trajectory is on, decided by seeded hashing of ids, by time, or by a column of the log.

A hash depends on nothing but the seed and the ids: nobody changes sides when data is added, and no shuffle needs
all of the data at once. What can only be told from all of it (who occurs in training, what occurs twice) is in
`simstudent.data.division`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Literal, get_args

from pydantic import Field, field_validator, model_validator

from simstudent.data.pieces import instant
from simstudent.data.records import Trajectory
from simstudent.data.step_values import as_text
from simstudent.errors import SimstudentError
from simstudent.section import Section

Side = Literal["train", "validation", "test"]
Cell = Literal[
    "seen_student_seen_assignment",
    "unseen_student_seen_assignment",
    "seen_student_unseen_assignment",
    "unseen_student_unseen_assignment",
]
"""Of the test side: whether student and assignment (Pencil Code: title) occur in training."""
SIDES: tuple[Side, ...] = get_args(Side)
CELLS: tuple[Cell, ...] = get_args(Cell)

Place = str
"""Where a trajectory goes: a side, a cell, or, in words, why it is on none."""
NO_SIDE = "of no side"
SEVERAL = "with submissions of several sides"
NO_TIME = "without times"


class SplitSection(Section):
    """How trajectories are put on sides; docs/recipes.md explains each ``by``. ``test``, ``validation`` are shares."""

    by: Literal["student", "assignment", "time", "term", "column", "cells"] = "student"
    test: float = Field(0.2, gt=0, lt=1)
    validation: float = Field(0.2, gt=0, lt=1)
    seed: int | None = None
    """Default: the recipe's seed."""
    test_from: str | None = None
    """By time: ISO date or time from which on it is the test side; default: the last ``test`` of the trajectories."""
    column: str | None = None
    """By term, column: where the submissions' ``more`` says it; default: term, split."""
    sides: dict[Side, tuple[str, ...]] | None = None
    """By term, column: the values of that column that make each side."""
    shared_students: Literal["drop", "keep"] = "drop"
    """By time, term, column: what becomes of held-out trajectories of students who are in training too."""
    unseen_students: float = Field(0.02, gt=0, lt=1)
    """By cells: share of students kept out of training."""
    unseen_assignments: float = Field(0.02, gt=0, lt=1)
    """By cells: share of assignments kept out of training."""
    copies: Literal["keep", "drop_traces", "drop_programs"] = "keep"
    """Held-out trajectories of which training has all programs in the same order, or any one, under another key."""
    test_sample: int | None = Field(None, ge=1)
    """Keep this many trajectories of the test side (of each cell), drawn by a seeded hash."""

    @field_validator("test_from")
    @classmethod
    def _is_time(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                instant(value)
            except ValueError:
                raise ValueError(f"not a time in ISO 8601, such as 2022-01-10: {value!r}") from None
        return value

    @field_validator("test_from", mode="before")
    @classmethod
    def _yaml_date(cls, value: object) -> object:
        return value.isoformat() if hasattr(value, "isoformat") else value

    @field_validator("sides", mode="before")
    @classmethod
    def _one_or_many(cls, value: object) -> object:
        if not isinstance(value, Mapping):
            return value
        return {
            side: [str(v) for v in named] if isinstance(named, list | tuple) else [str(named)]
            for side, named in value.items()
        }

    @model_validator(mode="after")
    def _fits(self) -> SplitSection:
        given, allowed = self.model_fields_set, {"by", "seed", "validation", "copies", "test_sample"}
        allowed |= {
            "student": {"test"},
            "assignment": {"test"},
            "time": {"test", "test_from", "shared_students"},
            "term": {"column", "sides", "shared_students"},
            "column": {"column", "sides", "shared_students"},
            "cells": {"test", "unseen_students", "unseen_assignments"},
        }[self.by]
        plain = type(self).model_fields
        wrong = sorted(k for k in given - allowed if getattr(self, k) != plain[k].default)
        if wrong:
            raise ValueError(f"{', '.join(wrong)} has no meaning for a split by {self.by}")
        if self.by == "term" and not {"train", "test"} <= set(self.sides or ()):
            raise ValueError("a split by term needs sides, such as {train: [Spring 2021], test: [Spring 2022]}")
        if self.sides:
            named = [as_text(v) for values in self.sides.values() for v in values]
            if doubled := sorted({v for v in named if named.count(v) > 1}):
                raise ValueError(f"sides names {', '.join(doubled)} on two sides")
        return self

    @property
    def values(self) -> Mapping[Side, tuple[str, ...]]:
        """By term or column: the values of each side."""
        return self.sides or {"train": ("train",), "validation": ("val", "validation", "valid"), "test": ("test",)}

    @property
    def validation_is_drawn(self) -> bool:
        """Whether the validation side is a share of training (not named by the data)."""
        return self.by not in ("term", "column") or "validation" not in self.values


def position(seed: int, *parts: str) -> float:
    """A number in [0, 1) that depends on nothing but the seed and the text."""
    digest = hashlib.sha256("\x1f".join([str(seed), *parts]).encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def side_of(student: str, *, seed: int, test: float, validation: float) -> Side:
    """``test`` is a share of all students, ``validation`` a share of the others."""
    if position(seed, "test", student) < test:
        return "test"
    return "validation" if position(seed, "validation", student) < validation else "train"


def first_place(t: Trajectory, s: SplitSection, seed: int) -> Place:
    """Where a trajectory belongs as far as it can tell itself; by time, the test side comes later (`division`).

    Raises SimstudentError when the column that a split goes by is not there.
    """
    if s.by == "student":
        return side_of(t.student, seed=seed, test=s.test, validation=s.validation)
    if s.by == "assignment":
        draws = (position(seed, f"{side} assignment", t.assignment) for side in ("test", "validation"))
        return "test" if next(draws) < s.test else "validation" if next(draws) < s.validation else "train"
    if s.by == "cells":
        held_out = (
            position(seed, "unseen student", t.student) < s.unseen_students
            or position(seed, "unseen assignment", t.assignment) < s.unseen_assignments
        )
        if held_out or position(seed, "test", t.student, t.assignment) < s.test:
            return "test"
        return "validation" if position(seed, "validation", t.student, t.assignment) < s.validation else "train"
    place = _by_time(t, s) if s.by == "time" else _by_column(t, s)
    if place == "train" and s.validation_is_drawn and position(seed, "validation", t.student) < s.validation:
        return "validation"
    return place


def _by_time(t: Trajectory, s: SplitSection) -> Place:
    span = times(t)
    if span is None:
        return NO_TIME
    if s.test_from is None:
        return "train"
    boundary = instant(s.test_from)
    return "test" if span[0] >= boundary else "train" if span[1] < boundary else SEVERAL


def times(t: Trajectory) -> tuple[float, float] | None:
    """First and last time of a trajectory, in seconds since 1970; None when a submission has no time."""
    known = [instant(x.time) for x in t.submissions if x.time is not None]
    return (min(known), max(known)) if len(known) == len(t.submissions) else None


def _by_column(t: Trajectory, s: SplitSection) -> Place:
    column = s.column or {"term": "term", "column": "split"}[s.by]
    if all(column not in x.more for x in t.submissions):
        known = ", ".join(sorted(set[str]().union(*(x.more for x in t.submissions)))) or "none"
        raise SimstudentError(
            f"data.split: no submission of {t.key} has a column '{column}' (there: {known}). For tables, name it in "
            "data.source.columns.more, or say which column it is in data.split.column"
        )
    side_of_value = {as_text(v): side for side, values in s.values.items() for v in values}
    found = {side_of_value.get(as_text(x.more.get(column)), NO_SIDE) for x in t.submissions}
    return found.pop() if len(found) == 1 else SEVERAL
