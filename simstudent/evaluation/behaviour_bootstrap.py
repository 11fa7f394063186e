"""Intervals for figures over (student, title) pairs, which share students and share titles.

A resample draws students and, apart from that, titles, both with replacement; a pair counts as often as its student
times as often as its title was drawn (the pigeonhole bootstrap: Owen, "The pigeonhole bootstrap", Annals of Applied
Statistics 1, 2007; McCullagh 2000). For crossed data it errs to the wide side. Drawing students alone would take traces
of one title for independent, and they are most alike. With one student or one title, only the others are drawn.
Percentile intervals, 95 %.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simstudent.evaluation.statistics import Array, Estimate, draws, interval

MOMENTS = 6
Statistic = Callable[[Array], Array]
"""From moments (..., MOMENTS), summed over pairs, to a value each; NaN where there is none."""


def weights(student: NDArray[np.int64], title: NDArray[np.int64], *, resamples: int, seed: int) -> Array:
    """How often each resample holds each pair, shape (resamples, pairs)."""
    sides = []
    for number, of in enumerate((student, title)):
        count = int(of.max()) + 1 if len(of) else 0
        if count > 1:
            sides.append(draws(count, resamples=resamples, seed=seed + number)[:, of])
    return np.prod(sides, axis=0) if sides else np.ones((0, len(student)))


def moments(x: Array, y: Array) -> Array:
    """1, x, y, x x, y y, x y of each pair, centred and scaled, (pairs, MOMENTS); all 0 where one is not known."""
    known = ~(np.isnan(x) | np.isnan(y))
    found = np.zeros((len(x), MOMENTS))
    if known.any():
        a, b = (_standard(v[known]) for v in (x, y))
        found[known] = np.stack([np.ones(len(a)), a, b, a * a, b * b, a * b], axis=1)
    return found


def _standard(values: Array) -> Array:
    spread = float(values.std())
    return np.asarray((values - values.mean()) / (spread if spread > 0 else 1.0))


def pearson(totals: Array) -> Array:
    """The correlation from summed moments (..., MOMENTS); NaN where one side does not vary."""
    n, x, y, xx, yy, xy = np.moveaxis(totals, -1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        left, right = xx - x * x / n, yy - y * y / n
        found = (xy - x * y / n) / np.sqrt(left * right)
    return np.where((left > 1e-9) & (right > 1e-9), np.clip(found, -1, 1), np.nan)


def mean(totals: Array) -> Array:
    """The mean of the second column over the first; NaN where there is nothing."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(totals[..., 1] / totals[..., 0])


def counted(values: Array) -> Array:
    """1 and the value of each pair, (pairs, 2), for `mean`; 0 where it is not known."""
    known = ~np.isnan(values)
    return np.stack([known.astype(np.float64), np.where(known, values, 0.0)], axis=1)


@dataclass(frozen=True, slots=True, eq=False)
class Resampled:
    """A statistic of the pairs: its ``value`` (NaN: none), its values in the resamples, (resamples,), and which pairs
    are ``known``, (pairs,). All come from the same `weights`, so that two of them can be subtracted."""

    value: float
    drawn: Array
    known: NDArray[np.bool_]

    def estimate(self, student: NDArray[np.int64]) -> Estimate:
        """The figure with its interval. ``student``: of each pair."""
        pairs, students = int(self.known.sum()), len(np.unique(student[self.known]))
        if np.isnan(self.value):
            return Estimate(None, pairs, students, None)
        # Without leave-one-out values there is no acceleration: the interval is the percentile one.
        found = interval(self.value, self.drawn, np.zeros(1)) if len(self.drawn) else None
        return Estimate(self.value, pairs, students, found)

    def __sub__(self, other: Resampled) -> Resampled:
        return Resampled(self.value - other.value, self.drawn - other.drawn, self.known & other.known)


def resampled(tables: Sequence[Array], statistic: Statistic, drawn: Array) -> list[Resampled]:
    """``statistic`` of each table (pairs, columns), whose first column says which pairs are known.

    ``drawn``: the ``weights``. All tables have as many columns.
    """
    if not tables:
        return []
    together = drawn @ np.concatenate(tables, axis=1)  # one pass over the weights, which are larger than all tables
    each = np.split(together, len(tables), axis=1)
    return [
        Resampled(float(statistic(table.sum(axis=0))), statistic(part), table[:, 0] > 0)
        for table, part in zip(tables, each, strict=True)
    ]


def average(found: Sequence[Resampled]) -> Resampled:
    """The plain mean of figures (one at least) of the same pairs, those without a value left out."""
    kept = [f for f in found if not np.isnan(f.value)]
    if not kept:
        return Resampled(np.nan, np.full_like(found[0].drawn, np.nan), np.zeros_like(found[0].known))
    each = np.array([f.drawn for f in kept])
    there = ~np.isnan(each)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = np.where(there, each, 0).sum(axis=0) / there.sum(axis=0)
    return Resampled(float(np.mean([f.value for f in kept])), means, np.any([f.known for f in kept], axis=0))
