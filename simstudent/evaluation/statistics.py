"""Means with their intervals: a bootstrap over students, because a student's submissions are not independent.

Everything is computed from *totals*: the sum and the number of a quantity's values per student and step. A
resample draws as many students as there are, with replacement, and takes each with all that is theirs (cluster
bootstrap; Field and Welsh, 2007). Adding up totals is a matrix product, so 10,000 resamples take well under a second.

Intervals are BCa (Efron, 1987: bias-corrected and accelerated), the acceleration from a jackknife over students.
Where BCa is undefined (the estimate lies outside all resamples, leaving one student out leaves nothing, no
acceleration can be computed) the interval is the plain percentile one and says so.

What is not covered: with fewer than some 20 students every bootstrap interval is too narrow.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Statistic = Callable[[Array, Array], Array]
"""From sums and counts, both (..., steps), to one value each, (...); NaN where there is none."""

LEVEL = 0.95
_BLOCK = 8_000_000  # draws held in memory at a time: 64 MB


@dataclass(frozen=True, slots=True)
class Interval:
    """A 95 % confidence interval and how it was made."""

    low: float
    high: float
    kind: Literal["bca", "percentile"]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure: its value, over how many values (``pairs``) of how many students, and the interval.

    ``value`` is None when there is nothing to average. ``interval`` is None with fewer than two students and when
    every resample gives the same value (all students alike): the bootstrap then knows nothing about the error,
    and an interval of no width would claim certainty.
    """

    value: float | None
    pairs: int
    students: int
    interval: Interval | None


@dataclass(frozen=True, slots=True, eq=False)
class Totals:
    """A quantity's sums and numbers of values, each of shape (students, steps)."""

    sums: Array
    counts: Array


# --- statistics of totals -------------------------------------------------------------------------------


def micro(sums: Array, counts: Array) -> Array:
    """The mean over all values: sum of sums over sum of counts."""
    return _ratio(sums.sum(axis=-1), counts.sum(axis=-1))


def paper(sums: Array, counts: Array) -> Array:
    """The plain mean over steps of the per-step means, unrounded; steps without values are skipped.

    Koutcheme, Leinonen and Hellas (EDM 2026), the GP and CB columns of their results table.
    """
    return _mean(_ratio(sums, counts))


def degradation(sums: Array, counts: Array) -> Array:
    """Delta m: the mean over steps j = 2..K of m_j - m_1; steps without values are skipped.

    Koutcheme, Leinonen and Hellas (EDM 2026), the Delta columns of their results table.
    """
    per_step = _ratio(sums, counts)
    return _mean(per_step[..., 1:] - per_step[..., :1])


def _ratio(sums: Array, counts: Array) -> Array:
    ratio: Array = np.full(counts.shape, np.nan)
    np.divide(sums, counts, out=ratio, where=counts > 0)
    return ratio


def _mean(values: Array) -> Array:
    known = ~np.isnan(values)
    return _ratio(np.where(known, values, 0.0).sum(axis=-1), known.sum(axis=-1).astype(np.float64))


# --- the bootstrap --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Totals of several quantities over the same students, with their resamples and leave-one-out totals.

    Per quantity: ``students`` (students, steps), ``resamples`` (resamples, steps), ``jackknife`` (students, steps).
    """

    students: Mapping[str, Totals]
    resamples: Mapping[str, Totals]
    jackknife: Mapping[str, Totals]


def resample(quantities: Mapping[str, Totals], *, resamples: int, seed: int) -> Sample:
    """Bootstrap and jackknife of all quantities at once: one resample is the same students for each of them.

    All quantities have the same students in the same order. The draws depend on the seed and the number of
    students only.
    """
    tables = {name: np.concatenate([q.sums, q.counts], axis=1) for name, q in quantities.items()}
    students = len(next(iter(tables.values()), ()))
    size = resamples if students > 1 else 0
    drawn = {name: np.empty((size, table.shape[1])) for name, table in tables.items()}
    start = 0
    for weights in _blocks(students, size, seed):
        for name, table in tables.items():
            # One product a quantity: the last bits of a product depend on its shape, and no quantity's figures
            # may depend on which others are computed beside it.
            drawn[name][start : start + len(weights)] = weights @ table
        start += len(weights)
    left_out = {name: table.sum(axis=0) - table for name, table in tables.items()}
    return Sample(quantities, _split(drawn), _split(left_out))


def draws(students: int, *, resamples: int, seed: int) -> Array:
    """How often each resample holds each student, shape (resamples, students): the draws of ``resample``. Read-only."""
    made = _kept if resamples * students <= _BLOCK else _kept.__wrapped__
    return made(students, resamples, seed)


def _blocks(students: int, resamples: int, seed: int) -> Iterator[Array]:
    """The draws, no more rows at a time than ``_BLOCK`` allows."""
    rows = max(1, _BLOCK // max(1, students))
    if 0 < resamples <= rows:
        yield draws(students, resamples=resamples, seed=seed)
        return
    generator = np.random.default_rng(seed)
    for start in range(0, resamples, rows):
        yield _weights(generator, min(rows, resamples - start), students)


@lru_cache(maxsize=2)  # all figures of a method rest on the same draws
def _kept(students: int, resamples: int, seed: int) -> Array:
    weights = _weights(np.random.default_rng(seed), resamples, students)
    weights.flags.writeable = False
    return weights


def _weights(generator: np.random.Generator, resamples: int, students: int) -> Array:
    """How often each resample holds each student, shape (resamples, students)."""
    picks = generator.integers(0, students, size=(resamples, students))
    picks += np.arange(resamples)[:, None] * students
    counts = np.bincount(picks.ravel(), minlength=resamples * students)
    return counts.reshape(resamples, students).astype(np.float64)


def _split(tables: Mapping[str, Array]) -> dict[str, Totals]:
    halves = {name: np.split(table, 2, axis=1) for name, table in tables.items()}
    return {name: Totals(sums, counts) for name, (sums, counts) in halves.items()}


def estimate(sample: Sample, name: str, statistic: Statistic, step: int | None = None) -> Estimate:
    """``statistic`` of the quantity ``name`` with its interval; of one step (0-based) only if ``step`` is given."""
    steps = slice(None) if step is None else slice(step, step + 1)
    own = sample.students[name]
    counts = own.counts[:, steps]
    pairs, students = round(counts.sum()), int((counts.sum(axis=1) > 0).sum())
    value = float(statistic(own.sums[:, steps].sum(axis=0), counts.sum(axis=0)))
    if math.isnan(value):
        return Estimate(None, pairs, students, None)
    if students < 2:
        return Estimate(value, pairs, students, None)
    drawn, left_out = (
        statistic(totals.sums[:, steps], totals.counts[:, steps])
        for totals in (sample.resamples[name], sample.jackknife[name])
    )
    return Estimate(value, pairs, students, interval(value, drawn, left_out))


def interval(value: float, drawn: Array, left_out: Array) -> Interval | None:
    """The BCa interval of ``value`` from its resamples and leave-one-out values, else the percentile interval.

    Resamples without a value (NaN) are left out. None when the resamples do not differ. Efron, "Better bootstrap
    confidence intervals", JASA 82 (1987); ties with the estimate count half.
    """
    drawn = drawn[~np.isnan(drawn)]
    if not len(drawn) or np.ptp(drawn) <= 1e-12:
        return None
    tails = (1 - LEVEL) / 2, (1 + LEVEL) / 2
    adjusted = _bca_tails(value, drawn, left_out, tails)
    low, high = np.quantile(drawn, adjusted or tails)
    return Interval(float(low), float(high), "bca" if adjusted else "percentile")


def _bca_tails(value: float, drawn: Array, left_out: Array, tails: tuple[float, float]) -> tuple[float, float] | None:
    tied = np.abs(drawn - value) <= 1e-12
    below = float(((drawn < value) & ~tied).mean() + tied.mean() / 2)
    apart = left_out.mean() - left_out
    spread = float((apart**2).sum())
    if not 0 < below < 1 or not spread > 1e-24:  # also when a leave-one-out value is NaN
        return None
    normal = NormalDist()
    bias, acceleration = normal.inv_cdf(below), float((apart**3).sum()) / (6 * spread**1.5)
    adjusted = []
    for tail in tails:
        shifted = bias + normal.inv_cdf(tail)
        if acceleration * shifted >= 1:
            return None
        adjusted.append(normal.cdf(bias + shifted / (1 - acceleration * shifted)))
    return adjusted[0], adjusted[1]


# --- tests ----------------------------------------------------------------------------------------------


def sign_flip(differences: Array, *, resamples: int, seed: int) -> float | None:
    """The two-sided p-value of "the differences are as likely to be of either sign", a whole student at a time.

    ``differences``: the sum of paired differences of each student, shape (students,). The statistic is the absolute
    total; with all 2^n sign patterns where they are no more than ``resamples``, else with random ones, the observed
    pattern counted among them, so that p is never 0 (Phipson and Smyth, 2010). None without two students who differ.
    Exact under exchangeable signs (Fisher, 1935); unlike the bootstrap it needs no large number of students.
    """
    apart = differences[differences != 0]
    if len(apart) < 2:
        return None
    observed = abs(float(apart.sum())) * (1 - 1e-12)  # ties up to rounding count as at least as extreme
    if 2 ** min(len(apart), 60) <= resamples:
        patterns = np.arange(2 ** len(apart))[:, None] >> np.arange(len(apart)) & 1
        return float((np.abs((2.0 * patterns - 1) @ apart) >= observed).mean())
    generator = np.random.default_rng(seed)
    block, extreme = max(1, _BLOCK // len(apart)), 0
    for start in range(0, resamples, block):
        signs = generator.integers(0, 2, size=(min(block, resamples - start), len(apart))) * 2.0 - 1
        extreme += int((np.abs(signs @ apart) >= observed).sum())
    return (extreme + 1) / (resamples + 1)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """p-values adjusted for being several (Holm, 1979); None stays None and counts for nothing."""
    known = sorted((p, at) for at, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for rank, (p, at) in enumerate(known):
        highest = max(highest, min(1.0, p * (len(known) - rank)))
        adjusted[at] = highest
    return adjusted
