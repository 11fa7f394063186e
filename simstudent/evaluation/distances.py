"""Distances of two populations from their counts: how far apart, whatever individual pairs do.

Every function takes counts of both sides of shape (..., bins) and gives one distance for each leading index, so that
thousands of resamples are one call. NaN where a side is empty.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from simstudent.evaluation.statistics import Array


def _shares(counts: Array) -> Array:
    whole = counts.sum(axis=-1, keepdims=True)
    return _ratio(counts, np.broadcast_to(whole, counts.shape))


def _ratio(above: Array, below: Array) -> Array:
    found: Array = np.full(above.shape, np.nan)
    np.divide(above, below, out=found, where=below > 0)
    return found


def kolmogorov_smirnov(a: Array, b: Array) -> Array:
    """The largest difference of the two cumulative distributions, in [0, 1]; bins in ascending order of the value."""
    return np.asarray(np.abs((_shares(a) - _shares(b)).cumsum(axis=-1)).max(axis=-1))


def wasserstein(a: Array, b: Array, grid: Array) -> Array:
    """The area between the two cumulative distributions (Wasserstein-1), in the unit of ``grid``, the bins' values."""
    apart = np.abs((_shares(a) - _shares(b)).cumsum(axis=-1))
    return np.asarray((apart[..., :-1] * np.diff(grid)).sum(axis=-1))


def total_variation(a: Array, b: Array, groups: NDArray[np.int64]) -> Array:
    """Half the sum of absolute differences of shares, in [0, 1], within each group of bins, averaged over groups.

    ``groups``: of each bin, ascending from 0. A group weighs by its counts on both sides; where one side has none of a
    group nothing is known about it, and it is left out.
    """
    begins = np.flatnonzero(np.diff(groups, prepend=-1))
    n_a, n_b = (np.add.reduceat(side, begins, axis=-1) for side in (a, b))
    apart = np.abs(_ratio(a, n_a[..., groups]) - _ratio(b, n_b[..., groups]))
    within = np.add.reduceat(np.nan_to_num(apart), begins, axis=-1) / 2
    weight = np.where((n_a > 0) & (n_b > 0), n_a + n_b, 0.0)
    return _ratio((within * weight).sum(axis=-1), weight.sum(axis=-1))


def curves(a: Array, b: Array) -> Array:
    """The mean absolute difference of two curves; points that one of them lacks are left out.

    Bins: first the sums of all points, then the numbers of values. One point is a plain difference of means.
    """
    one, other = (_ratio(*np.split(side, 2, axis=-1)) for side in (a, b))
    apart = np.abs(one - other)
    known = ~np.isnan(apart)
    return _ratio(np.nan_to_num(apart).sum(axis=-1), known.sum(axis=-1).astype(np.float64))


def survival(counts: Array) -> Array:
    """The Kaplan-Meier curve: the share without the event after steps 1, 2, ...; NaN from where nobody is at risk.

    Bins: first the events at each step, then those at risk (observed up to it at least). Kaplan and Meier,
    "Nonparametric estimation from incomplete observations", JASA 53 (1958).
    """
    hazard = _ratio(*np.split(counts, 2, axis=-1))
    return np.asarray(np.cumprod(1 - hazard, axis=-1))


def survivals(a: Array, b: Array) -> Array:
    """The largest difference of two Kaplan-Meier curves over the steps at which both sides have someone at risk."""
    apart = np.abs(survival(a) - survival(b))
    known = ~np.isnan(apart)
    return np.where(known.any(axis=-1), np.nan_to_num(apart).max(axis=-1), np.nan)
