"""Two methods on the same steps: their difference with an interval, and whether it could be chance.

Only steps that both cover count: a method that solves the task early leaves the hard, late steps uncovered, and a
difference of two means over different steps would show that instead.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from simstudent.evaluation.statistics import Array, Estimate, estimate, holm, micro, resample, sign_flip
from simstudent.evaluation.totals import Evidence, partners, totals

COMPARED = ("grade_proximity", "codebleu", "test_agreement", "error_category_agreement", "same_program")


@dataclass(frozen=True, slots=True)
class Comparison:
    """``difference`` = mean of ``one`` - mean of ``other`` of a measure over the steps that both cover.

    ``p``: sign flips of whole students (``statistics.sign_flip``); ``p_holm``: corrected for the number of pairs of
    methods that were compared in this measure, so it, and it alone, depends on which methods are evaluated together.
    """

    measure: str
    one: str
    other: str
    mean_one: Estimate
    mean_other: Estimate
    difference: Estimate
    p: float | None
    p_holm: float | None


def comparisons(methods: Sequence[Evidence], *, resamples: int, seed: int) -> tuple[Comparison, ...]:
    """Each two methods in each measure for which both have a value on some common step."""
    found: dict[str, list[Comparison]] = {measure: [] for measure in COMPARED}
    for one, other in itertools.combinations(methods, 2):
        # From the side with more samples, so that a method rolled out once stands beside each of them.
        swap = len(other.steps.k) > len(one.steps.k)
        own, against = (other, one) if swap else (one, other)
        rows = partners(own, against)
        for measure in COMPARED:
            mine, theirs = own.steps.values[measure], np.append(against.steps.values[measure], np.nan)[rows]
            if not np.isnan(mine - theirs).all():
                pair = (theirs, mine) if swap else (mine, theirs)
                found[measure].append(_compared(measure, own, (one.method, other.method), pair, resamples, seed))
    corrected = []
    for family in found.values():
        adjusted = holm([c.p for c in family])
        corrected += [replace(c, p_holm=p) for c, p in zip(family, adjusted, strict=True)]
    return tuple(corrected)


def _compared(
    measure: str, own: Evidence, names: tuple[str, str], pair: tuple[Array, Array], resamples: int, seed: int
) -> Comparison:
    one, other = pair
    both = ~np.isnan(one - other)
    columns = {"one": one, "other": other, "difference": one - other}
    quantities = {
        name: totals(np.where(both, column, np.nan), own.step_student, len(own.students))
        for name, column in columns.items()
    }
    sample = resample(quantities, resamples=resamples, seed=seed)
    p = sign_flip(quantities["difference"].sums[:, 0], resamples=resamples, seed=seed)
    means = [estimate(sample, name, micro) for name in columns]
    return Comparison(measure, names[0], names[1], means[0], means[1], means[2], p, None)
