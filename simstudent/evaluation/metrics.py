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

import numpy as np

from simstudent.errors import SimstudentError
from simstudent.evaluation.calibration import Calibration, calibrations
from simstudent.evaluation.comparison import Comparison, comparisons
from simstudent.evaluation.curves import Curve, curves
from simstudent.evaluation.realism import Realism, realism
from simstudent.evaluation.statistics import (
    LEVEL,
    Array,
    Estimate,
    Sample,
    Totals,
    degradation,
    estimate,
    micro,
    paper,
    resample,
)
from simstudent.evaluation.steps import STEP_MEASURES, check
from simstudent.evaluation.strata import Stratum, strata
from simstudent.evaluation.totals import Evidence, evidence, partners, totals
from simstudent.evaluation.wholes import ROLLOUT_MEASURES
from simstudent.rollout.records import Rollout
from simstudent.runs import uncollected

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

    @property
    def used(self) -> int:
        return self.rollouts - self.errors


@dataclass(frozen=True, slots=True)
class Skill:
    """One measure beside the baseline's, on pairs that both cover: ``difference`` = ``own`` - ``baseline``."""

    difference: Estimate
    difference_paper: Estimate
    own: Estimate
    baseline: Estimate


@dataclass(frozen=True, slots=True)
class MethodFigures:
    """All figures of one method; keys are names of measures (docs/metrics.md defines them).

    ``paper``, ``degradation``: the paper's table. ``micro``: means over all values. ``by_step``: a curve per
    measure, its first entry being step 1. ``skill``: empty when the baseline is absent, or for the baseline.
    ``realism``: distances to the real students as a population, by name. ``strata``: figures of parts of the starts.
    ``curves``: of the population beside the real one, by name.
    """

    method: str
    counts: Counts
    paper: Mapping[str, Estimate]
    degradation: Mapping[str, Estimate]
    micro: Mapping[str, Estimate]
    by_step: Mapping[str, tuple[Estimate, ...]]
    skill: Mapping[str, Skill]
    realism: Mapping[str, Realism]
    strata: tuple[Stratum, ...]
    curves: Mapping[str, Curve]


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of all methods, in the order in which the methods first appear, and how they were computed.

    ``comparisons``: each two methods, on the steps that both cover. ``calibration``: which temperature is nearest to
    the students, of methods that were rolled out at several.
    """

    methods: tuple[MethodFigures, ...]
    comparisons: tuple[Comparison, ...]
    calibration: tuple[Calibration, ...]
    baseline: str
    resamples: int
    seed: int
    level: float
    codebleu: bool
    lint: bool
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
    lint: bool = False,
    baseline: str = REPEAT_LAST,
    language: str = "python",
) -> Figures:
    """All figures of the rollouts, by method.

    A method's figures depend on its own rollouts only, its skill on those of ``baseline`` besides; the order of
    the rollouts does not matter to them. Rollouts that ended in an error are left out and counted.
    ``codebleu=False`` leaves CodeBLEU out (its values are None); ``lint``: also count lint findings (Python only).
    Raises SimstudentError for records that contradict themselves, and when what is wanted is not installed.
    """
    if resamples < 1:
        raise SimstudentError(f"resamples must be at least 1, not {resamples}")
    with uncollected():
        check(rollouts)
        found = evidence(rollouts, codebleu=codebleu, language=language, lint=lint)
        against = next((e for e in found if e.method == baseline), None)
        methods = []
        for own in found:
            counts = _counts([r for r in rollouts if r.method == own.method], own.rollouts)
            methods.append(_figures(counts, own, None if own is against else against, resamples, seed))
        compared = comparisons(found, resamples=resamples, seed=seed)
    return Figures(
        tuple(methods),
        compared,
        calibrations({m.method: m.micro for m in methods}),
        baseline,
        resamples,
        seed,
        LEVEL,
        codebleu,
        lint,
        language,
    )


def _figures(counts: Counts, own: Evidence, baseline: Evidence | None, resamples: int, seed: int) -> MethodFigures:
    steps = int(own.steps.k.max(initial=1))
    beside = None if baseline is None else partners(own, baseline)

    def by_step(column: Array) -> Totals:
        return totals(column, own.step_student, len(own.students), own.steps.k, steps)

    quantities = {m: by_step(own.steps.values[m]) for m in STEP_MEASURES}
    quantities |= {m: totals(own.wholes.values[m], own.student, len(own.students)) for m in ROLLOUT_MEASURES}
    differences: dict[str, Array] = {}
    if baseline is not None and beside is not None:
        for m in SKILL_MEASURES:
            mine, theirs = own.steps.values[m], np.append(baseline.steps.values[m], np.nan)[beside]
            differences[m] = mine - theirs
            both = np.isnan(differences[m])
            quantities |= {
                f"difference {m}": by_step(differences[m]),
                f"own {m}": by_step(np.where(both, np.nan, mine)),
                f"baseline {m}": by_step(np.where(both, np.nan, theirs)),
            }
    sample = resample(quantities, resamples=resamples, seed=seed)
    return MethodFigures(
        own.method,
        counts,
        # The paper's coverage is one ratio over all steps; only GP and CB are averaged over steps.
        paper={m: estimate(sample, m, micro if m == "coverage" else paper) for m in PAPER_MEASURES},
        degradation={m: estimate(sample, m, degradation) for m in PAPER_MEASURES},
        micro={m: estimate(sample, m, micro) for m in (*STEP_MEASURES, *ROLLOUT_MEASURES)},
        by_step={m: tuple(estimate(sample, m, micro, step) for step in range(steps)) for m in STEP_MEASURES},
        skill={m: _skill(sample, m) for m in differences},
        realism=realism(own, resamples=resamples, seed=seed),
        strata=strata(own, differences.get("grade_proximity"), resamples=resamples, seed=seed),
        curves=curves(own, resamples=resamples, seed=seed),
    )


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


__all__ = ["REPEAT_LAST", "Counts", "Figures", "MethodFigures", "Skill", "evaluate"]
