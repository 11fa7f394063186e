"""Curves of the simulated students beside the real ones, each point with its interval: what figures are drawn from.

Both are what ``populations`` compares, so a figure shows what its distance measures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from simstudent.evaluation.distances import survival
from simstudent.evaluation.populations import Population, attempts, progression
from simstudent.evaluation.statistics import Array, Estimate, Totals, draws, estimate, interval, micro, resample
from simstudent.evaluation.totals import Evidence

POINTS = 10
"""Points of the curve of grades: tenths of a trajectory."""
GRADES = "grade by position"
UNSOLVED = "not solved after step"


@dataclass(frozen=True, slots=True)
class Curve:
    """Points of both sides, over the same steps (or rollouts); a point without a value is an Estimate of None."""

    simulated: tuple[Estimate, ...]
    real: tuple[Estimate, ...]


def curves(own: Evidence, *, resamples: int, seed: int) -> Mapping[str, Curve]:
    """``GRADES``: the mean grade in tenths of the trajectory, by (t + k) / T. ``UNSOLVED``: the Kaplan-Meier curve of
    steps to full marks. Without those for which nothing is known on both sides. Intervals: BCa, students resampled.
    """
    found = {}
    grades, unsolved = progression(own, POINTS), attempts(own)
    if grades is not None:
        found[GRADES] = _means(grades, resamples, seed)
    if unsolved is not None:
        sides = [_survival(side, unsolved.n, resamples, seed) for side in (unsolved.simulated, unsolved.real)]
        found[UNSOLVED] = Curve(*sides)
    return found


def _means(population: Population, resamples: int, seed: int) -> Curve:
    """Of populations that are compared as curves: the sums of each point, then the numbers of values."""
    sides = {"simulated": population.simulated, "real": population.real}
    sample = resample({n: Totals(*np.split(s, 2, axis=1)) for n, s in sides.items()}, resamples=resamples, seed=seed)
    points = population.real.shape[1] // 2
    return Curve(*(tuple(estimate(sample, name, micro, p) for p in range(points)) for name in sides))


def _survival(counts: Array, n: Array, resamples: int, seed: int) -> tuple[Estimate, ...]:
    """The share still unsolved after each step; ``counts``: events, then those at risk, shape (students, 2 x steps)."""
    values, students, pairs = survival(counts.sum(axis=0)), int((n > 0).sum()), round(float(n.sum()))
    drawn = left_out = np.empty((0, len(values)))
    if students > 1:
        drawn = survival(draws(len(n), resamples=resamples, seed=seed) @ counts)
        left_out = survival(counts.sum(axis=0) - counts)
    return tuple(
        Estimate(None, pairs, students, None)
        if np.isnan(value)
        else Estimate(float(value), pairs, students, interval(float(value), drawn[:, at], left_out[:, at]))
        for at, value in enumerate(values)
    )
