"""Do generated traces behave as their students' real ones? Correlations, means, BLEU, and tests between models.

After Ross et al. (2025), section 3 and figures 2 and 3: for each property the Pearson correlation, over (student,
title) pairs, of the mean over a pair's samples with the true trace's value; paired t-tests with Bonferroni's
correction. Beside it what the t-test cannot know: pairs share students and titles, so intervals come from a bootstrap
over both (`behaviour_bootstrap`), and p-values from sign flips of whole students, corrected after Holm.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from simstudent.evaluation import behaviour_bleu
from simstudent.evaluation.behaviour_bootstrap import (
    Resampled,
    average,
    counted,
    mean,
    moments,
    pearson,
    resampled,
    weights,
)
from simstudent.evaluation.behaviour_columns import PUBLISHED, Generated, Pairs
from simstudent.evaluation.statistics import Array, Estimate, holm, sign_flip

ALL = "all"
FLAGS = ("complete", "possibly_cut", "year")
"""Properties that are reported but do not count into the mean correlation: no behaviour of a student's."""
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class PropertyFigures:
    """One property of one method, over the pairs of a group where both sides have it.

    ``correlation``: Pearson's. ``mean``, ``true``: with standard errors of the pairs, ``mean_se`` and ``true_se``.
    ``difference``: generated minus true. Tests of it: ``t`` (paired, Bonferroni), ``flip`` (sign flips, Holm).
    """

    correlation: Estimate
    mean: float | None
    mean_se: float | None
    true: float | None
    true_se: float | None
    difference: Estimate
    t: float | None = None
    flip: float | None = None


@dataclass(frozen=True, slots=True)
class MethodFigures:
    """One method in one group of pairs; ``pairs``: those of which it wrote something.

    ``correlation``: the mean over our properties (without `FLAGS`). ``bleu``: of all samples' last programs against the
    student's own. ``self_bleu``: among students of one title, one program each, mean over titles; ``true_self_bleu``:
    of the students' own, equally many. ``samples_bleu``: Self-BLEU among the samples of one pair, mean over pairs.
    """

    method: str
    group: str
    pairs: int
    properties: Mapping[str, PropertyFigures]
    correlation: Estimate
    bleu: Estimate | None
    self_bleu: float | None
    true_self_bleu: float | None
    samples_bleu: float | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two methods on one property: the difference of their distances to the true value, mean over pairs (``one`` minus
    ``other``: below 0, ``one`` is nearer). p-values as in `PropertyFigures`, corrected over all comparisons."""

    one: str
    other: str
    name: str
    difference: Estimate
    t: float | None
    flip: float | None


@dataclass(frozen=True, slots=True)
class Behaviour:
    """All figures. ``counts``: of each method its samples, those without a state, those without an end."""

    resamples: int
    pairs: int
    students: int
    titles: int
    counts: Mapping[str, Mapping[str, int]]
    methods: tuple[MethodFigures, ...]
    comparisons: tuple[Comparison, ...]

    def of(self, method: str, group: str = ALL) -> MethodFigures:
        """The figures of a method. Raises StopIteration when there are none."""
        return next(m for m in self.methods if (m.method, m.group) == (method, group))


def behaviour(pairs: Pairs, methods: Sequence[Generated], *, resamples: int = 2000, seed: int = 0) -> Behaviour:
    """All figures of some methods: over all pairs, and over each cell of the test side."""
    drawn = weights(pairs.student, pairs.title, resamples=resamples, seed=seed)
    groups = {ALL: np.ones(len(pairs.keys), dtype=np.bool_)} | {
        cell: np.array([c == cell for c in pairs.cell], dtype=np.bool_) for cell in sorted({c for c in pairs.cell if c})
    }
    likeness = {method.method: likeness_of(method, pairs) for method in methods}
    found = [
        _method(method, pairs, likeness[method.method], group, mask, drawn, resamples, seed)
        for group, mask in groups.items()
        if mask.any()
        for method in methods
    ]
    return Behaviour(
        resamples,
        len(pairs.keys),
        len(np.unique(pairs.student)),
        len(np.unique(pairs.title)),
        {m.method: {"samples": m.samples, "empty": m.empty, "censored": m.censored} for m in methods},
        tuple(found),
        _comparisons(pairs, methods, drawn, resamples, seed),
    )


def _method(
    own: Generated,
    pairs: Pairs,
    likeness: Likeness | None,
    group: str,
    mask: Mask,
    drawn: Array,
    resamples: int,
    seed: int,
) -> MethodFigures:
    names, sides, tests = list(pairs.truth), list[tuple[Array, Array]](), list[_Test]()
    for name, truth in pairs.truth.items():
        x, y = np.where(mask, own.means[name], math.nan), np.where(mask, truth, math.nan)
        sides.append((x, y))
        # Cells are looked at, and tests are for all pairs: fewer of them, so that correction costs less.
        tests.append(_test(x - y, pairs.student, resamples, seed) if group == ALL else _Test(None, None))
    correlations = resampled([moments(x, y) for x, y in sides], pearson, drawn)
    differences = resampled([counted(x - y) for x, y in sides], mean, drawn)
    figures = {
        name: PropertyFigures(
            r.estimate(pairs.student), *_mean(x[r.known]), *_mean(y[r.known]), difference.estimate(pairs.student)
        )
        for name, (x, y), r, difference in zip(names, sides, correlations, differences, strict=True)
    }
    behaviours = [r for name, r in zip(names, correlations, strict=True) if counts(name)]
    return MethodFigures(
        own.method,
        group,
        sum(bool(own.finals[n]) for n in np.flatnonzero(mask)),
        _with_tests(figures, tests),
        average(behaviours).estimate(pairs.student),
        *_bleus(own, pairs, likeness, mask, drawn),
    )


def counts(name: str) -> bool:
    """Whether a property counts into the mean correlation: it is ours, and a behaviour."""
    return not name.startswith(PUBLISHED) and name not in FLAGS


def _mean(values: Array) -> tuple[float | None, float | None]:
    """Mean and standard error; None where there are not enough values."""
    if not len(values):
        return None, None
    return float(values.mean()), float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else None


# --- tests ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Test:
    """Uncorrected p-values; None: cannot be tested (too few pairs, no difference, scipy missing)."""

    t: float | None
    flip: float | None


def _test(differences: Array, student: NDArray[np.int64], resamples: int, seed: int) -> _Test:
    """Whether paired differences (a value a pair, NaN: not known) are 0 on average."""
    known = ~np.isnan(differences)
    if known.sum() < 2:
        return _Test(None, None)
    varies = float(np.ptp(differences[known])) > 0  # Student's t is undefined where all differences are the same
    totals = np.bincount(student[known], weights=differences[known]).astype(np.float64)
    flip = sign_flip(totals, resamples=resamples, seed=seed)
    return _Test(_paired_t(differences[known]) if varies else None, flip)


def _paired_t(differences: Array) -> float | None:
    if importlib.util.find_spec("scipy") is None:
        return None
    from scipy.stats import ttest_1samp

    return float(ttest_1samp(differences, 0).pvalue)


def _corrected(tests: Sequence[_Test]) -> list[_Test]:
    """t: times the number of tests (Bonferroni); flip: after Holm."""
    count = sum(test.t is not None for test in tests)
    flips = holm([test.flip for test in tests])
    return [
        _Test(None if test.t is None else min(1.0, test.t * count), flip)
        for test, flip in zip(tests, flips, strict=True)
    ]


def _with_tests(figures: Mapping[str, PropertyFigures], tests: Sequence[_Test]) -> dict[str, PropertyFigures]:
    """Ours and the published definitions are corrected apart: they ask the same twice."""
    found = dict(figures)
    names = list(figures)
    for published in (False, True):
        places = [n for n, name in enumerate(names) if name.startswith(PUBLISHED) == published]
        for n, test in zip(places, _corrected([tests[n] for n in places]), strict=True):
            f = found[names[n]]
            found[names[n]] = PropertyFigures(
                f.correlation, f.mean, f.mean_se, f.true, f.true_se, f.difference, test.t, test.flip
            )
    return found


def _comparisons(
    pairs: Pairs, methods: Sequence[Generated], drawn: Array, resamples: int, seed: int
) -> tuple[Comparison, ...]:
    """Every two methods on every property of ours: whose traces are nearer to the students'."""
    names = [name for name in pairs.truth if counts(name)]
    asked = [(one, other, name) for one, other in combinations(methods, 2) for name in names]
    nearer = [
        np.abs(one.means[name] - pairs.truth[name]) - np.abs(other.means[name] - pairs.truth[name])
        for one, other, name in asked
    ]
    tests = _corrected([_test(apart, pairs.student, resamples, seed) for apart in nearer])
    means = resampled([counted(apart) for apart in nearer], mean, drawn)
    return tuple(
        Comparison(one.method, other.method, name, shown.estimate(pairs.student), test.t, test.flip)
        for (one, other, name), shown, test in zip(asked, means, tests, strict=True)
    )


# --- BLEU -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Likeness:
    """How alike a method's last programs are to the students', pair by pair.

    ``table``: 1 and what a pair's samples add to the corpus BLEU, (pairs, 1 + COUNTS), 0 where there are none.
    ``among``: Self-BLEU among the samples of a pair, (pairs,); NaN with fewer than two.
    """

    table: Array
    among: Array

    def bleu(self, drawn: Array, mask: Mask | None = None) -> Resampled:
        """BLEU of all pairs, or of those in ``mask``."""
        table = self.table if mask is None else np.where(mask[:, None], self.table, 0.0)
        (found,) = resampled([table], lambda totals: behaviour_bleu.score(totals[..., 1:]), drawn)
        return found


def likeness_of(own: Generated, pairs: Pairs) -> Likeness | None:
    """None without nltk."""
    if importlib.util.find_spec("nltk") is None:
        return None
    table = np.zeros((len(pairs.keys), 1 + behaviour_bleu.COUNTS))
    among = np.full(len(pairs.keys), math.nan)
    for n, finals in enumerate(own.finals):
        if finals:
            table[n, 0] = 1
            table[n, 1:] = np.sum([behaviour_bleu.counts(text, [pairs.final[n]]) for text in finals], axis=0)
        if (alike := behaviour_bleu.self_bleu(finals)) is not None:
            among[n] = alike
    return Likeness(table, among)


def _bleus(
    own: Generated, pairs: Pairs, likeness: Likeness | None, mask: Mask, drawn: Array
) -> tuple[Estimate | None, float | None, float | None, float | None]:
    """``bleu``, ``self_bleu``, ``true_self_bleu``, ``samples_bleu``; None without nltk."""
    if likeness is None:
        return None, None, None, None
    by_title: dict[int, list[int]] = {}
    for n in np.flatnonzero(mask):
        if own.finals[n]:
            by_title.setdefault(int(pairs.title[n]), []).append(int(n))
    several = [places for places in by_title.values() if len(places) > 1]
    return (
        likeness.bleu(drawn, mask).estimate(pairs.student),
        _mean_of([behaviour_bleu.self_bleu([own.finals[n][0] for n in places]) for places in several]),
        _mean_of([behaviour_bleu.self_bleu([pairs.final[n] for n in places]) for places in several]),
        _mean_of(likeness.among[mask]),
    )


def _mean_of(values: Iterable[float | None]) -> float | None:
    """The mean of the values there are (neither None nor NaN)."""
    found = [value for value in values if value is not None and not math.isnan(value)]
    return float(np.mean(found)) if found else None
