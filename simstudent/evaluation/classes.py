"""A synthetic class beside the students that its model was trained on: two populations without pairs.

Artificial students stand for nobody, so nothing can be compared submission by submission. What is compared are
distributions over both classes, each distance beside its noise floor, as in `simstudent.evaluation.realism`: real half
to real half, and as many artificial students to a real half.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import Indel

from graders.compare import trimmed
from simstudent.evaluation.details import POPULATION_HEADINGS, population_cells
from simstudent.evaluation.distances import curves, kolmogorov_smirnov, survivals
from simstudent.evaluation.numbers import table
from simstudent.evaluation.realism import Realism, realism_of
from simstudent.evaluation.statistics import Array, Estimate
from simstudent.evaluation.steps import FULL_MARKS

SPLITS = 500
"""Random halvings of the real students."""
BROKEN = ("syntax_error", "no_code", "bad_diff")
READING = (
    "Class and students: a mean or share. Distance: the whole class to all training students. Half to half: as many "
    "artificial students as half of the training students are, to the other half. Noise floor: one half of the "
    "training students to the other, mean over random halvings, and what 95 % of them stay under. Told apart: half to "
    "half is above that. The model was trained on these students: a class that is close to them may know them by heart."
)


@dataclass(frozen=True, slots=True)
class Way:
    """One student's way through an assignment: programs, grades in [0, 1] and the graders' statuses, in order."""

    student: str
    assignment: str
    codes: tuple[str, ...]
    grades: tuple[float, ...]
    statuses: tuple[str, ...]

    @property
    def solved(self) -> bool:
        return bool(self.grades) and self.grades[-1] >= FULL_MARKS


Counts = tuple[Array, Array]
"""Of both sides, shape (students, bins): the class, the real students."""
Values = Sequence[tuple[int, float]]
"""(student, value) pairs."""


def compare_class(simulated: Sequence[Way], real: Sequence[Way], seed: int) -> dict[str, Realism]:
    """All distances by name. Ways without a submission count only where attempts are counted."""
    sides = [_Side(simulated), _Side(real)]
    shares: dict[str, Callable[[_Side], Values]] = {
        "solved": lambda s: [(n, float(p.solved)) for n, p in s.paths],
        "solved at once": lambda s: [(n, float(p.solved and len(p.codes) == 1)) for n, p in s.paths],
        "compiles": lambda s: [(n, float(x not in BROKEN)) for n, p in s.paths for x in p.statuses],
        "unchanged": lambda s: [(n, float(trimmed(a) == trimmed(b))) for n, a, b in s.edits],
    }
    sizes: dict[str, Callable[[_Side], Values]] = {
        "attempts": lambda s: [(n, len(p.codes)) for n, p in s.paths],
        "first grade": lambda s: [(n, p.grades[0]) for n, p in s.paths if p.grades],
        "grades": lambda s: [(n, g) for n, p in s.paths for g in p.grades],
        "edit size": lambda s: [(n, Indel.distance(a, b)) for n, a, b in s.edits],
        "program lines": lambda s: [(n, c.strip().count("\n") + 1) for n, p in s.paths for c in p.codes],
    }
    found = {name: _distance("difference", *_sums(sides, of), curves, seed) for name, of in shares.items()}
    found |= {name: _distance("KS", *_histograms(sides, of), kolmogorov_smirnov, seed) for name, of in sizes.items()}
    found["attempts to success"] = _distance("largest difference of survival", _survival(sides), None, survivals, seed)
    found["two first programs alike"] = _distance("difference", *_first_programs(sides), seed)
    return {name: one for name, one in found.items() if one is not None}


def to_markdown(compared: Mapping[str, Realism], simulated: Sequence[Way], real: Sequence[Way]) -> str:
    """The distances as a page."""
    rows = [[name, *population_cells(one)] for name, one in compared.items()]
    headings = [h.replace("simulated", "class").replace("students", "training students") for h in POPULATION_HEADINGS]
    said = [
        f"{len({p.student for p in side})} students, {len(side):,} trajectories, "
        f"{sum(len(p.codes) for p in side):,} submissions"
        for side in (simulated, real)
    ]
    return (
        f"# The class beside the training students\n\nClass: {said[0]}. Training students: {said[1]}.\n\n"
        f"{table(headings, rows)}\n\n{READING}\n"
    )


class _Side:
    """One class, its students as numbers."""

    def __init__(self, ways: Sequence[Way]) -> None:
        numbers = {name: n for n, name in enumerate(sorted({p.student for p in ways}))}
        self.paths = [(numbers[p.student], p) for p in ways]
        self.students = len(numbers)
        self.edits = [(n, a, b) for n, p in self.paths for a, b in zip(p.codes, p.codes[1:], strict=False)]


def _sums(sides: Sequence[_Side], of: Callable[[_Side], Values]) -> tuple[Counts, tuple[float, float] | None]:
    """Sums and numbers of values by student, and both means."""
    found, means = [], []
    for side in sides:
        held = of(side)
        who, values = _columns(held)
        pair = [np.bincount(who, w, minlength=side.students).astype(np.float64) for w in (values, None)]
        found.append(np.stack(pair, axis=1))
        means.append(float(values.mean()) if len(values) else float("nan"))
    return (found[0], found[1]), (means[0], means[1])


def _histograms(sides: Sequence[_Side], of: Callable[[_Side], Values]) -> tuple[Counts, tuple[float, float] | None]:
    """Values by student and bin, and both means."""
    columns = [_columns(of(side)) for side in sides]
    grid = np.unique(np.concatenate([values for _, values in columns]))
    counts = [
        np.bincount(who * len(grid) + np.searchsorted(grid, values), minlength=side.students * len(grid))
        .reshape(side.students, len(grid))
        .astype(np.float64)
        for side, (who, values) in zip(sides, columns, strict=True)
    ]
    means = [float(values.mean()) if len(values) else float("nan") for _, values in columns]
    return (counts[0], counts[1]), (means[0], means[1])


def _columns(held: Values) -> tuple[NDArray[np.int64], Array]:
    return np.array([n for n, _ in held], dtype=np.int64), np.array([v for _, v in held], dtype=np.float64)


def _survival(sides: Sequence[_Side]) -> Counts:
    """By student: successes at each attempt, then those still at it (who left is no longer watched)."""
    longest = max(len(p.codes) for side in sides for _, p in side.paths)
    found = []
    for side in sides:
        counts = np.zeros((side.students, 2 * longest))
        for n, p in side.paths:
            counts[n, longest : longest + len(p.codes)] += 1
            if p.solved:
                counts[n, len(p.codes) - 1] += 1
        found.append(counts)
    return found[0], found[1]


def _first_programs(
    sides: Sequence[_Side],
) -> tuple[Counts, tuple[float, float] | None, Callable[[Array, Array], Array]]:
    """First programs by student, a bin each; the distance is that of the chances that two of an assignment are alike.

    Unlike the share of distinct programs, this chance (Simpson's index) does not fall with the number of students.
    """
    numbers: dict[tuple[str, str], int] = {}
    firsts = [[(n, (p.assignment, trimmed(p.codes[0]))) for n, p in side.paths if p.codes] for side in sides]
    for key in sorted({key for held in firsts for _, key in held}):
        numbers[key] = len(numbers)
    groups = np.unique([assignment for assignment, _ in numbers], return_inverse=True)[1].reshape(-1)
    begins = np.flatnonzero(np.diff(groups, prepend=-1))
    counts = []
    for side, held in zip(sides, firsts, strict=True):
        made = np.zeros((side.students, len(numbers)))
        for n, key in held:
            made[n, numbers[key]] += 1
        counts.append(made)
    distance = partial(_alike_apart, begins=begins)
    shown = tuple(float(_alike(side.sum(axis=0), begins)) for side in counts)
    return (counts[0], counts[1]), (shown[0], shown[1]), distance


def _alike(counts: Array, begins: NDArray[np.int64]) -> Array:
    whole = np.add.reduceat(counts, begins, axis=-1)
    pairs = (whole * (whole - 1)).sum(axis=-1)
    same = (counts * (counts - 1)).sum(axis=-1)
    return np.asarray(np.divide(same, pairs, out=np.full(np.shape(pairs), np.nan), where=pairs > 0))


def _alike_apart(a: Array, b: Array, begins: NDArray[np.int64]) -> Array:
    return np.asarray(np.abs(_alike(a, begins) - _alike(b, begins)))


def _distance(
    kind: str,
    counts: Counts,
    shown: tuple[float, float] | None,
    distance: Callable[[Array, Array], Array],
    seed: int,
) -> Realism | None:
    """One distance with its noise floor; None where nothing is known of one side."""
    own, real = counts
    value = float(distance(own.sum(axis=0, keepdims=True), real.sum(axis=0, keepdims=True))[0])
    if np.isnan(value):
        return None
    across = floor = None
    half = len(real) // 2
    if half >= 2 and len(own) >= half:
        random = np.random.default_rng(seed)
        order = random.random((SPLITS, len(real))).argsort(axis=1).argsort(axis=1)
        one, other = (order < half).astype(np.float64), ((order >= half) & (order < 2 * half)).astype(np.float64)
        drawn = random.random((SPLITS, len(own))).argsort(axis=1).argsort(axis=1)
        mine = (drawn < half).astype(np.float64)
        across, floor = distance(mine @ own, other @ real), distance(one @ real, other @ real)
    return realism_of(kind, shown, Estimate(value, len(own), len(real), None), across, floor)
