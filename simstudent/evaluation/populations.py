"""What is compared of the population of simulated students: counts per student, of the simulation and of the student.

Defined in docs/metrics.md. All from steps and rollouts for which both sides are known.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from simstudent.evaluation.distances import curves, kolmogorov_smirnov, survivals, total_variation, wasserstein
from simstudent.evaluation.statistics import Array
from simstudent.evaluation.steps import CATEGORIES, Codes
from simstudent.evaluation.totals import Evidence

STAGES = 3
"""Parts of a trajectory in which error types are counted: first, middle, last third."""
POSITIONS = 5
"""Points of the curve of grades over the normalised position."""
BINS = 512
"""Different values (edit sizes, lines) kept apart, at most; beyond that neighbouring values share a bin."""
VECTORS = 4_000
"""Different outcome vectors kept apart, at most; the rarest beyond that count as one per assignment."""


@dataclass(frozen=True, slots=True, eq=False)
class Population:
    """Counts of one side each, shape (students, bins), and the distance of their sums over students.

    ``n``: values of each student. ``shown``: a summary of both sides, simulated first; None where one number says
    nothing.
    """

    kind: str
    simulated: Array
    real: Array
    n: Array
    distance: Callable[[Array, Array], Array]
    shown: tuple[float, float] | None


@dataclass(frozen=True, slots=True, eq=False)
class Diversity:
    """Programs as numbers that equal ones of an assignment share, one row a program; ``student``: whose it is."""

    student: Codes
    simulated: Codes
    real: Codes


def populations(own: Evidence) -> dict[str, Population]:
    """All that have a value on both sides, by name."""
    sizes, values = own.steps.sizes, own.steps.values
    found: dict[str, Population | None] = {
        "unchanged": _means(own, values["repeats_previous"], values["student_repeats_previous"]),
        "edit size": _sizes(own, "edit", "KS"),
        "edit size in characters": _sizes(own, "edit", "Wasserstein"),
        "solved by step": _solved(own),
        "attempts to success": attempts(own),
        "grade progression": progression(own),
        "grades": _sizes(own, "grade", "KS"),
        "mean grade": _means(own, sizes["grade"], sizes["student_grade"]),
        "error types by stage": _errors(own),
        "test outcomes": _tests(own),
        "program lines": _sizes(own, "lines", "KS"),
        "syntax tree nodes": _sizes(own, "ast_nodes", "KS"),
        "lint findings a line": _sizes(own, "lint", "KS"),
        "gave up": _shares(own, own.wholes.values["gave_up"], own.wholes.values["student_gave_up"], own.student),
    }
    return {name: population for name, population in found.items() if population is not None}


def diversities(own: Evidence) -> dict[str, Diversity]:
    """Distinct programs (texts, shapes of syntax trees) among the first simulated steps, one sample of each start."""
    first, found = first_steps(own), {}
    for name, code in (("distinct programs", "text"), ("distinct tree shapes", "shape")):
        simulated, real = own.steps.codes[code], own.steps.codes[f"student_{code}"]
        mask = first & (simulated >= 0) & (real >= 0)
        if mask.any():
            assignment = own.assignment[own.steps.rollout][mask]
            sides = [
                np.unique(np.stack([assignment, side[mask]]), axis=1, return_inverse=True)[1]
                for side in (simulated, real)
            ]
            found[name] = Diversity(own.step_student[mask], *(side.reshape(-1) for side in sides))
    return found


def first_steps(own: Evidence) -> NDArray[np.bool_]:
    """The steps k = 1 of one sample: each real submission is there once; later steps of other starts repeat it."""
    sample = np.array([unit[3] for unit in own.wholes.units], dtype=np.int64)[own.steps.rollout]
    return np.asarray((own.steps.k == 1) & (sample == sample.min(initial=0)))


def _means(own: Evidence, simulated: Array, real: Array) -> Population | None:
    return _shares(own, simulated, real, own.step_student)


def _shares(own: Evidence, simulated: Array, real: Array, student: Codes) -> Population | None:
    """A share or mean of steps or rollouts; the distance is its absolute difference."""
    return _curve(own, simulated, real, student, np.zeros(len(real), dtype=np.int64), 1, "difference")


def _curve(
    own: Evidence, simulated: Array, real: Array, student: Codes, point: Codes, points: int, kind: str
) -> Population | None:
    known = ~np.isnan(simulated - real)
    if not known.any():
        return None
    cells, size = (student * points + point)[known], len(own.students) * points
    n = np.bincount(cells, minlength=size).reshape(-1, points).astype(np.float64)
    sides = [
        np.concatenate([np.bincount(cells, side[known], minlength=size).reshape(-1, points), n], axis=1)
        for side in (simulated, real)
    ]
    shown = float(simulated[known].mean()), float(real[known].mean())
    return Population(kind, sides[0], sides[1], n.sum(axis=1), curves, shown)


def _sizes(own: Evidence, name: str, kind: str) -> Population | None:
    """Marginal distributions of a size of steps."""
    simulated, real = own.steps.sizes[name], own.steps.sizes[f"student_{name}"]
    known = ~np.isnan(simulated - real)
    if not known.any():
        return None
    a, b = simulated[known], real[known]
    grid = np.unique(np.concatenate([a, b]))
    if len(grid) > BINS:
        grid = np.unique(np.quantile(np.concatenate([a, b]), np.linspace(0, 1, BINS), method="nearest"))
    student = own.step_student[known]
    # A value between two of the grid counts as the lower one.
    sides = [
        _counted(student, np.searchsorted(grid, side, side="right") - 1, len(own.students), len(grid))
        for side in (a, b)
    ]
    distance = kolmogorov_smirnov if kind == "KS" else partial(wasserstein, grid=grid)
    return Population(kind, sides[0], sides[1], sides[0].sum(axis=1), distance, (float(a.mean()), float(b.mean())))


def _counted(student: Codes, bins: NDArray[np.int64], students: int, size: int) -> Array:
    return np.bincount(student * size + bins, minlength=students * size).reshape(students, size).astype(np.float64)


def _solved(own: Evidence) -> Population | None:
    """The share solved by step j = 1..K of all rollouts: what ended unsolved stays unsolved."""
    solved, real = own.wholes.values["solved_at"], own.wholes.values["student_solved_at"]
    steps = int(own.wholes.truths.max(initial=1))
    by = np.tile(np.arange(1, steps + 1), len(solved))
    sides = [np.repeat(side, steps) for side in (solved, real)]
    reached = [np.where(np.isnan(side), np.nan, (side > 0) & (side <= by)) for side in sides]
    student = np.repeat(own.student, steps)
    found = _curve(own, reached[0], reached[1], student, by - 1, steps, "mean difference of curves")
    if found is None:
        return None
    last = [side[:, [steps - 1, -1]].sum(axis=0) for side in (found.simulated, found.real)]
    shown = float(last[0][0] / last[0][1]), float(last[1][0] / last[1][1])
    return Population(found.kind, found.simulated, found.real, found.n / steps, found.distance, shown)


def attempts(own: Evidence) -> Population | None:
    """Steps to full marks, censored: who gives up, or whose student has no further submission, is no longer seen."""
    solved, real = own.wholes.values["solved_at"], own.wholes.values["student_solved_at"]
    known = ~np.isnan(solved - real)
    if not known.any():
        return None
    steps, students = int(own.wholes.truths.max()), len(own.students)
    ends = np.where(real > 0, real, own.wholes.truths)
    sides = []
    for event, seen in ((solved, own.wholes.values["observed"]), (real, ends)):
        at, until, who = event[known].astype(np.int64), seen[known].astype(np.int64), own.student[known]
        events = _counted(who[at > 0], at[at > 0] - 1, students, steps)
        last = _counted(who, until, students, steps + 1)  # until 0: gave up at once, never at risk
        at_risk = last[:, ::-1].cumsum(axis=1)[:, ::-1][:, 1:]
        sides.append(np.concatenate([events, at_risk], axis=1))
    n = np.bincount(own.student[known], minlength=students).astype(np.float64)
    return Population("largest difference of survival", sides[0], sides[1], n, survivals, None)


def _positions(own: Evidence, parts: int) -> Codes:
    """Which part of the student's trajectory each step falls into, by (t + k) / T."""
    starts = np.array([unit[2] for unit in own.wholes.units], dtype=np.int64)[own.steps.rollout]
    length = own.wholes.length[own.steps.rollout]
    return np.asarray((parts * (starts + own.steps.k) - 1) // length).clip(0, parts - 1)


def progression(own: Evidence, points: int = POSITIONS) -> Population | None:
    """Mean grades over the normalised position, in equal parts.

    Who solved the task keeps full marks while the student goes on.
    """
    steps, wholes = own.steps, own.wholes
    solved = wholes.values["solved_at"][steps.rollout]
    after = (steps.values["coverage"] == 0) & (solved > 0)
    simulated = np.where(after, 1.0, steps.sizes["grade"])
    real = wholes.grades[steps.rollout, steps.k - 1] if len(steps.k) else steps.sizes["grade"]
    place = _positions(own, points)
    return _curve(own, simulated, real, own.step_student, place, points, "mean difference of curves")


def _errors(own: Evidence) -> Population | None:
    simulated, real = own.steps.codes["category"], own.steps.codes["student_category"]
    stage = _positions(own, STAGES)
    groups = np.repeat(np.arange(STAGES), len(CATEGORIES))
    return _categories(own, simulated, real, stage * len(CATEGORIES), groups)


def _categories(own: Evidence, simulated: Codes, real: Codes, offset: Codes, groups: Codes) -> Population | None:
    known = (simulated >= 0) & (real >= 0)
    if not known.any():
        return None
    student, size = own.step_student[known], len(groups)
    sides = [_counted(student, (offset + side)[known], len(own.students), size) for side in (simulated, real)]
    distance = partial(total_variation, groups=groups)
    return Population("total variation", sides[0], sides[1], sides[0].sum(axis=1), distance, None)


def _tests(own: Evidence) -> Population | None:
    """Whole outcome vectors, within each assignment."""
    simulated, real = own.steps.codes["tests"], own.steps.codes["student_tests"]
    known = (simulated >= 0) & (real >= 0)
    if not known.any():
        return None
    assignment = own.assignment[own.steps.rollout][known]
    vectors = int(max(simulated.max(), real.max())) + 2  # and one for rare ones: 0, before all others
    pairs = np.tile(assignment, 2) * vectors + np.concatenate([simulated[known], real[known]]) + 1
    kinds, places, counts = np.unique(pairs, return_inverse=True, return_counts=True)
    if len(kinds) > VECTORS:
        rare = np.ones(len(kinds), dtype=np.bool_)
        rare[np.argsort(-counts, kind="stable")[:VECTORS]] = False
        kinds, merged = np.unique(np.where(rare, kinds - kinds % vectors, kinds), return_inverse=True)
        places = merged[places]
    _, groups = np.unique(kinds // vectors, return_inverse=True)
    student, size, half = own.step_student[known], len(kinds), int(known.sum())
    sides = [_counted(student, part, len(own.students), size) for part in (places[:half], places[half:])]
    distance = partial(total_variation, groups=groups)
    return Population("total variation", sides[0], sides[1], sides[0].sum(axis=1), distance, None)
