"""Selection: named steps, applied in the recipe's order, each reporting what it dropped.

A step is a function from trajectories to trajectories. A recipe names them in a list::

    select: [stop_at_full_grade, drop_unchanged, min_submissions: 2]
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from simstudent.data.records import Trajectory, outcome_of
from simstudent.recipe_errors import closest


def stop_at_full_grade(t: Trajectory) -> Trajectory | None:
    """Cut after the first submission with full marks: what follows is no longer solving the task."""
    for number, submission in enumerate(t.submissions, 1):
        if submission.grade is not None and submission.grade >= 1.0:
            return _with(t, number)
    return t


def drop_unchanged(t: Trajectory) -> Trajectory | None:
    """Drop submissions whose program equals the one before, character for character."""
    kept = [s for n, s in enumerate(t.submissions) if n == 0 or s.code != t.submissions[n - 1].code]
    return replace(t, submissions=tuple(kept), outcome=outcome_of(tuple(kept)))


def min_submissions(t: Trajectory, least: int) -> Trajectory | None:
    """Keep trajectories of at least ``least`` submissions."""
    return t if len(t.submissions) >= least else None


def max_submissions(t: Trajectory, most: int) -> Trajectory | None:
    """Keep trajectories of at most ``most`` submissions."""
    return t if len(t.submissions) <= most else None


def min_best_grade(t: Trajectory, least: float) -> Trajectory | None:
    """Keep trajectories that reach a grade of at least ``least`` (in [0, 1]) somewhere."""
    return t if any(s.grade is not None and s.grade >= least for s in t.submissions) else None


def _with(t: Trajectory, count: int) -> Trajectory:
    kept = t.submissions[:count]
    return replace(t, submissions=kept, outcome=outcome_of(kept))


Plain = Callable[[Trajectory], Trajectory | None]
PLAIN: dict[str, Plain] = {"stop_at_full_grade": stop_at_full_grade, "drop_unchanged": drop_unchanged}
WITH_VALUE: dict[str, tuple[Callable[..., Trajectory | None], type]] = {
    "min_submissions": (min_submissions, int),
    "max_submissions": (max_submissions, int),
    "min_best_grade": (min_best_grade, float),
}


@dataclass(frozen=True, slots=True)
class Attrition:
    """What one step left: a row of the attrition table."""

    step: str
    trajectories: int
    students: int
    submissions: int


def check_step(step: str | dict[str, Any]) -> tuple[str, Plain]:
    """The label and function of a step as written in a recipe. Raises ValueError with a suggestion."""
    if isinstance(step, str):
        if step in WITH_VALUE:
            raise ValueError(f"selection step '{step}' needs a value, such as '{step}: 2'")
        if step not in PLAIN:
            raise ValueError(f"unknown selection step '{step}'; {closest(step, [*PLAIN, *WITH_VALUE])}")
        return step, PLAIN[step]
    if len(step) != 1:
        raise ValueError(f"a selection step is one name with one value, not {step!r}")
    ((name, value),) = step.items()
    if name in PLAIN:
        raise ValueError(f"selection step '{name}' takes no value")
    if name not in WITH_VALUE:
        raise ValueError(f"unknown selection step '{name}'; {closest(name, [*PLAIN, *WITH_VALUE])}")
    function, kind = WITH_VALUE[name]
    if isinstance(value, bool) or not isinstance(value, (int, float) if kind is float else int):
        raise ValueError(f"selection step '{name}' needs a value of type {kind.__name__}, not {value!r}")
    return f"{name}: {value}", lambda t: function(t, value)


def select(
    trajectories: Iterable[Trajectory], steps: Sequence[str | dict[str, Any]]
) -> tuple[tuple[Trajectory, ...], tuple[Attrition, ...]]:
    """The trajectories that pass all steps, and the attrition table (first row: before any step)."""
    kept = tuple(trajectories)
    table = [_row("logged", kept)]
    for step in steps:
        label, function = check_step(step)
        kept = tuple(t for t in map(function, kept) if t is not None)
        table.append(_row(label, kept))
    return kept, tuple(table)


def _row(label: str, kept: Sequence[Trajectory]) -> Attrition:
    return Attrition(label, len(kept), len({t.student for t in kept}), sum(len(t.submissions) for t in kept))
