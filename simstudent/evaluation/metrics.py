"""The figures of a set of rollouts, per method, each with its number of values and its interval.

Definitions: Koutcheme, Leinonen and Hellas, "Teaching Language Models How to Code Like Learners" (EDM 2026),
evaluation section: coverage, grade proximity (GP) and CodeBLEU (CB) on covered pairs, degradation over steps, in
their aggregation (``paper``) and as means over all pairs (``micro``). The two differ a lot where coverage falls.

What the paper lacks and these figures lead with is ``skill``: the difference to a baseline that hands in its last
program again, on the very same pairs. Students change little from one submission to the next, so copying scores
high in all three measures, and a GP without this difference says little.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from simstudent.errors import SimstudentError
from simstudent.evaluation.rows import (
    ROLLOUT_MEASURES,
    STEP_MEASURES,
    RolloutRow,
    Row,
    Unit,
    check,
    rollout_rows,
    step_rows,
    unit,
    usable,
    with_codebleu,
)
from simstudent.evaluation.statistics import (
    LEVEL,
    Estimate,
    Sample,
    Totals,
    degradation,
    estimate,
    micro,
    paper,
    resample,
)
from simstudent.rollout.records import Rollout

REPEAT_LAST = "repeat-last"
PAPER_MEASURES = ("coverage", "grade_proximity", "codebleu")
SKILL_MEASURES = ("grade_proximity", "codebleu", "test_agreement")


@dataclass(frozen=True, slots=True)
class Counts:
    """What a method's figures rest on. ``errors``: rollouts left out because the engine or the grader failed.

    ``steps`` have a real submission, ``covered`` of them a simulated one; of these, ``no_code`` held no program,
    ``constant`` are grades asserted without a program, ``truncated`` were cut at the token limit.
    """

    rollouts: int
    errors: int
    students: int
    assignments: int
    steps: int
    covered: int
    no_code: int
    constant: int
    truncated: int
    stops: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Skill:
    """One measure beside the baseline's, on pairs that both cover: ``difference`` = ``own`` - ``baseline``."""

    difference: Estimate
    difference_paper: Estimate
    own: Estimate
    baseline: Estimate


@dataclass(frozen=True, slots=True)
class MethodFigures:
    """All figures of one method; keys are names of measures (``rows.Row`` and ``rows.RolloutRow`` define them).

    ``paper``, ``degradation``: the paper's table. ``micro``: means over all values. ``by_step``: a curve per
    measure, its first entry being step 1. ``skill``: empty when the baseline is absent, or for the baseline.
    """

    method: str
    counts: Counts
    paper: Mapping[str, Estimate]
    degradation: Mapping[str, Estimate]
    micro: Mapping[str, Estimate]
    by_step: Mapping[str, tuple[Estimate, ...]]
    skill: Mapping[str, Skill]


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of all methods, in the order in which the methods first appear, and how they were computed."""

    methods: tuple[MethodFigures, ...]
    baseline: str
    resamples: int
    seed: int
    level: float
    codebleu: bool
    language: str

    def of(self, method: str) -> MethodFigures:
        """The figures of ``method``. Raises KeyError when it is not among them."""
        for figures in self.methods:
            if figures.method == method:
                return figures
        raise KeyError(method)


def evaluate(
    rollouts: Sequence[Rollout],
    *,
    resamples: int = 10_000,
    seed: int = 0,
    codebleu: bool = True,
    baseline: str = REPEAT_LAST,
    language: str = "python",
) -> Figures:
    """All figures of the rollouts, by method.

    A method's figures depend on its own rollouts only, its skill on those of ``baseline`` besides; the order of
    the rollouts does not matter to them. Rollouts that ended in an error are left out and counted.
    ``codebleu=False`` leaves CodeBLEU out (its values are None).
    Raises SimstudentError for records that contradict themselves, and when CodeBLEU is wanted but not installed.
    """
    if resamples < 1:
        raise SimstudentError(f"resamples must be at least 1, not {resamples}")
    check(rollouts)
    names = list(dict.fromkeys(rollout.method for rollout in rollouts))
    kept = sorted((r for r in rollouts if usable(r)), key=unit)
    rows = [row for rollout in kept for row in step_rows(rollout)]
    if codebleu:
        rows = with_codebleu(rows, kept, language)
    of_method: dict[str, list[Row]] = {name: [] for name in names}
    for row in rows:
        of_method[row.method].append(row)
    methods = []
    for name in names:
        all_of_it = [rollout for rollout in rollouts if rollout.method == name]
        good = [rollout for rollout in kept if rollout.method == name]
        counts = _counts(all_of_it, good)
        against = [] if name == baseline else of_method.get(baseline, [])
        methods.append(_figures(counts, name, of_method[name], rollout_rows(good), against, resamples, seed))
    return Figures(tuple(methods), baseline, resamples, seed, LEVEL, codebleu, language)


def _figures(
    counts: Counts,
    method: str,
    rows: Sequence[Row],
    whole: Sequence[RolloutRow],
    baseline: Sequence[Row],
    resamples: int,
    seed: int,
) -> MethodFigures:
    students = sorted({row.unit[0] for row in whole})
    steps = max((row.k for row in rows), default=1)
    quantities = {m: _totals(rows, [getattr(row, m) for row in rows], students, steps) for m in STEP_MEASURES}
    quantities |= {m: _totals(whole, [getattr(row, m) for row in whole], students, 1) for m in ROLLOUT_MEASURES}
    for measure in SKILL_MEASURES if baseline else ():
        quantities |= _beside(rows, baseline, measure, students, steps)
    sample = resample(quantities, resamples=resamples, seed=seed)
    return MethodFigures(
        method,
        counts,
        # The paper's coverage is one ratio over all steps; only GP and CB are averaged over steps.
        paper={m: estimate(sample, m, micro if m == "coverage" else paper) for m in PAPER_MEASURES},
        degradation={m: estimate(sample, m, degradation) for m in PAPER_MEASURES},
        micro={m: estimate(sample, m, micro) for m in (*STEP_MEASURES, *ROLLOUT_MEASURES)},
        by_step={m: tuple(estimate(sample, m, micro, step) for step in range(steps)) for m in STEP_MEASURES},
        skill={m: _skill(sample, m) for m in SKILL_MEASURES if baseline},
    )


def _totals(
    rows: Sequence[Row | RolloutRow], values: Sequence[float | None], students: Sequence[str], steps: int
) -> Totals:
    """Sums and counts per student and step of the values that are there."""
    number = {student: i for i, student in enumerate(students)}
    known = [(row, value) for row, value in zip(rows, values, strict=True) if value is not None]
    cells = np.array([number[row.unit[0]] * steps + getattr(row, "k", 1) - 1 for row, _ in known], dtype=np.intp)
    size, shape = len(students) * steps, (len(students), steps)
    sums = np.bincount(cells, np.array([value for _, value in known], dtype=np.float64), minlength=size)
    counts = np.bincount(cells, minlength=size).astype(np.float64)
    return Totals(sums.astype(np.float64).reshape(shape), counts.reshape(shape))


def _beside(
    rows: Sequence[Row], baseline: Sequence[Row], measure: str, students: Sequence[str], steps: int
) -> dict[str, Totals]:
    """Totals of a measure, of the baseline's and of the difference, over pairs for which both have a value."""
    samples: dict[tuple[Any, ...], dict[int, float | None]] = {}
    for row in baseline:
        samples.setdefault((*row.unit[:3], row.k), {})[row.unit[3]] = getattr(row, measure)
    paired = []
    for row in rows:
        others, own = samples.get((*row.unit[:3], row.k), {}), getattr(row, measure)
        # A deterministic baseline is rolled out once and stands beside every sample of a sampling method.
        other = next(iter(others.values())) if len(others) == 1 else others.get(row.unit[3])
        if other is not None and own is not None:
            paired.append((row, own, other))
    matched = [row for row, _, _ in paired]
    return {
        f"difference {measure}": _totals(matched, [own - base for _, own, base in paired], students, steps),
        f"own {measure}": _totals(matched, [own for _, own, _ in paired], students, steps),
        f"baseline {measure}": _totals(matched, [base for _, _, base in paired], students, steps),
    }


def _skill(sample: Sample, measure: str) -> Skill:
    return Skill(
        difference=estimate(sample, f"difference {measure}", micro),
        difference_paper=estimate(sample, f"difference {measure}", paper),
        own=estimate(sample, f"own {measure}", micro),
        baseline=estimate(sample, f"baseline {measure}", micro),
    )


def _counts(rollouts: Sequence[Rollout], kept: Sequence[Rollout]) -> Counts:
    steps = [step for rollout in kept for step in rollout.steps]
    return Counts(
        rollouts=len(rollouts),
        errors=len(rollouts) - len(kept),
        students=len({rollout.student for rollout in kept}),
        assignments=len({rollout.assignment for rollout in kept}),
        steps=sum(rollout.truths for rollout in kept),
        covered=len(steps),
        no_code=sum(step.code is None and step.status != "constant" for step in steps),
        constant=sum(step.status == "constant" for step in steps),
        truncated=sum(step.truncated for step in steps),
        stops=dict(sorted(Counter(rollout.stop for rollout in kept).items())),
    )


__all__ = ["REPEAT_LAST", "Counts", "Figures", "MethodFigures", "Skill", "Unit", "evaluate"]
