"""Simulated students as a population beside the real ones, each distance next to its noise floor.

Real students differ from one another, so a distance of 0 is out of reach. The floor is what the same distance is
between two random halves of the *real* students; beside it stands the distance of one half's simulations to the other
half's real submissions: the same number of students, none on both sides. A simulation is as good as the data can tell
when the two agree; above the floor's 95 % point it is told apart from real students.

Both sides always have the same steps (or rollouts): those for which both are known, so n is equal, and no other method
decides on them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from simstudent.evaluation.neighbours import missed, neighbours
from simstudent.evaluation.populations import Diversity, Population, diversities, populations
from simstudent.evaluation.statistics import Array, Estimate, draws, interval
from simstudent.evaluation.totals import Evidence

RESAMPLES = 2_000
"""Bootstrap resamples of a distance, at most."""
SPLITS = 1_000
"""Random halvings of the students for the noise floor; a tenth of them where programs have to be counted anew."""


@dataclass(frozen=True, slots=True)
class Realism:
    """One distance. ``simulated``, ``real``: a summary of both sides (a share, a mean) to show what differs.

    ``distance``: of all simulated to all real values, its interval by bootstrap over students (each with both sides);
    none for shares of distinct programs: drawing a student twice makes duplicates. ``floor``: the mean over random
    halvings of the students of the distance real half to real half, ``floor_high`` its 95 % point; ``halves``:
    simulated half to the other real half. None with fewer than four students. ``single``, where students' programs are
    to be covered: as ``halves``, of a generator that hands in a single real program for each assignment, the one that
    covers most.
    """

    kind: str
    simulated: float | None
    real: float | None
    distance: Estimate
    halves: float | None
    floor: float | None
    floor_high: float | None
    single: float | None = None

    @property
    def told_apart(self) -> bool | None:
        """Whether the simulation is farther from real students than 95 % of halves of real students are."""
        return None if self.halves is None or self.floor_high is None else self.halves > self.floor_high

    @property
    def collapsed(self) -> bool | None:
        """Whether a single program would do as well. None where it would do as well as real students, too."""
        if self.halves is None or self.single is None or self.floor is None or self.single <= self.floor:
            return None
        return self.halves >= self.single


def realism(own: Evidence, *, resamples: int, seed: int) -> Mapping[str, Realism]:
    """All distances by name (``populations`` defines them); those without a value on either side are left out."""
    students = len(own.students)
    halves = _halvings(students, min(SPLITS, resamples), seed) if students >= 4 else None
    found = {
        name: _of_counts(population, halves, min(RESAMPLES, resamples), seed)
        for name, population in populations(own).items()
    }
    few = None if halves is None else (halves[0][: SPLITS // 10], halves[1][: SPLITS // 10])
    for name, diversity in diversities(own).items():
        found[name] = _of_programs(diversity, few, seed)
    return found | _coverage(own, few, seed)


def _halvings(students: int, splits: int, seed: int) -> tuple[Array, Array]:
    """Two disjoint random halves of the students, equally many in both, as weights of shape (splits, students)."""
    order = np.random.default_rng(seed).random((splits, students)).argsort(axis=1).argsort(axis=1)
    half = students // 2
    return (order < half).astype(np.float64), ((order >= half) & (order < 2 * half)).astype(np.float64)


def _of_counts(population: Population, halves: tuple[Array, Array] | None, resamples: int, seed: int) -> Realism:
    simulated, real, distance = population.simulated, population.real, population.distance
    everyone = np.ones((1, len(real)))
    value = float(distance(everyone @ simulated, everyone @ real)[0])
    students = int((population.n > 0).sum())
    between = None
    if students > 1:
        drawn = _weighted(distance, draws(len(real), resamples=resamples, seed=seed), simulated, None, real)
        left_out = distance(simulated.sum(axis=0) - simulated, real.sum(axis=0) - real)
        between = interval(value, drawn, left_out)
    estimate = Estimate(value, int(population.n.sum()), students, between)
    across = floor = None
    if halves is not None:
        across = _weighted(distance, halves[0], simulated, halves[1], real)
        floor = _weighted(distance, halves[0], real, halves[1], real)
    return realism_of(population.kind, population.shown, estimate, across, floor)


def _weighted(
    distance: Callable[[Array, Array], Array], weights: Array, a: Array, others: Array | None, b: Array
) -> Array:
    """The distance for each row of weights of the students; ``others`` weigh the other side (None: the same)."""
    others = weights if others is None else others
    rows = max(1, 2_000_000 // max(1, a.shape[1]))
    parts = [distance(weights[i : i + rows] @ a, others[i : i + rows] @ b) for i in range(0, len(weights), rows)]
    return np.concatenate(parts)


def _of_programs(diversity: Diversity, halves: tuple[Array, Array] | None, seed: int) -> Realism:
    everyone = np.arange(len(diversity.student))
    own, theirs = (_distinct(side, everyone) for side in (diversity.simulated, diversity.real))
    n, students = len(everyone), len(np.unique(diversity.student))
    estimate = Estimate(abs(own - theirs), n, students, None)
    across = floor = None
    if halves is not None:
        # The share of distinct programs falls with their number: both halves get as many, drawn at random.
        order = np.random.default_rng(seed).permutation(n)
        pairs = []
        for one, other in zip(*halves, strict=True):
            left, right = (order[side[diversity.student[order]] > 0] for side in (one, other))
            size = min(len(left), len(right))
            if size:
                pairs.append((left[:size], right[:size]))
        if pairs:
            real = [_distinct(diversity.real, right) for _, right in pairs]
            across = np.array(
                [abs(_distinct(diversity.simulated, a) - r) for (a, _), r in zip(pairs, real, strict=True)]
            )
            floor = np.array([abs(_distinct(diversity.real, a) - r) for (a, _), r in zip(pairs, real, strict=True)])
    return realism_of("difference of shares", (own, theirs), estimate, across, floor)


def _coverage(own: Evidence, halves: tuple[Array, Array] | None, seed: int) -> dict[str, Realism]:
    """What of the programs of one side the other does not cover (``neighbours``); none where no two students meet."""
    near = neighbours(own, seed)
    everyone = np.ones(len(own.students), dtype=np.bool_)
    whole = missed(near, everyone, everyone)
    if not whole.n:
        return {}
    students = len(np.unique(np.concatenate([n.students for n in near])))
    pairs = zip(*halves, strict=True) if halves is not None else ()
    parts = [missed(near, other > 0, one > 0) for one, other in pairs]
    floor = np.array([part.ceiling for part in parts]) if parts else None

    def side(distance: float, halves: Sequence[float]) -> Realism:
        estimate = Estimate(distance, whole.n, students, None)
        return realism_of("share not covered", None, estimate, np.array(halves) if parts else None, floor)

    real = side(whole.real, [part.real for part in parts])
    single = np.array([part.single for part in parts])
    return {
        "students' programs": replace(real, single=None if real.halves is None else float(np.nanmean(single))),
        "simulated programs": side(whole.simulated, [part.simulated for part in parts]),
    }


def _distinct(programs: NDArray[np.int64], rows: NDArray[np.int64]) -> float:
    met = np.zeros(int(programs.max()) + 1, dtype=np.bool_)
    met[programs[rows]] = True
    return float(met.sum() / len(rows))


def realism_of(
    kind: str,
    shown: tuple[float, float] | None,
    distance: Estimate,
    across: Array | None,
    floor: Array | None,
) -> Realism:
    """A distance with those across halves and of the noise floor, each None or one for every halving."""

    def mean(values: Array | None) -> float | None:
        known = None if values is None else values[~np.isnan(values)]
        return None if known is None or not len(known) else float(known.mean())

    high = None if mean(floor) is None or floor is None else float(np.nanquantile(floor, 0.95))
    own, real = shown or (None, None)
    return Realism(kind, own, real, distance, mean(across), mean(floor), high)
