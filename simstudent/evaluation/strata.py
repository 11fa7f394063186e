"""Figures of parts of the starts: by what the *student* did and where the start is, never by what the simulation did.

A stratum by the simulation's own success would decide its figures by its definition: coverage is 1 where it fails.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simstudent.evaluation.statistics import Array, Estimate, estimate, micro, resample
from simstudent.evaluation.totals import Evidence, numbered, totals

STRATUM_MEASURES = ("coverage", "grade_proximity", "codebleu", "test_agreement", "repeats_previous")
POSITIONS = (0, 1, 2, 3, 5, 10)
LENGTHS = (1, 3, 5, 9, 17)
PROGRAM_LINES = (0, 6, 11, 21, 41)


@dataclass(frozen=True, slots=True)
class Stratum:
    """Means over the steps of some starts. ``skill``: GP over the baseline; without a baseline it has no value.

    ``by``: student_outcome, position (submissions before the start), length (of the trajectory), assignment, or
    program_lines (of the last real program before the start).
    """

    by: str
    value: str
    rollouts: int
    means: Mapping[str, Estimate]
    skill: Estimate
    solved: Estimate
    student_solved: Estimate


def strata(own: Evidence, skill: Array | None, *, resamples: int, seed: int) -> tuple[Stratum, ...]:
    """All strata with a rollout in them. ``skill``: of each step, the GP over the baseline's, NaN without a pair."""
    columns = {m: own.steps.values[m] for m in STRATUM_MEASURES}
    columns["skill"] = np.full(len(own.steps.k), np.nan) if skill is None else skill
    wholes = {m: own.wholes.values[m] for m in ("solved_within_steps", "student_solved_within_steps")}
    found, size = [], len(own.students)
    for by, labels in _labels(own).items():
        names, group = numbered(labels)
        steps = group[own.steps.rollout]
        # The groups stand where a curve has its steps: one bootstrap for all of them.
        quantities = {m: totals(c, own.step_student, size, steps + 1, len(names)) for m, c in columns.items()}
        quantities |= {m: totals(c, own.student, size, group + 1, len(names)) for m, c in wholes.items()}
        sample = resample(quantities, resamples=resamples, seed=seed)
        for at in sorted(range(len(names)), key=lambda i: _order(names[i])):
            means = {m: estimate(sample, m, micro, at) for m in quantities}
            found.append(
                Stratum(
                    by,
                    names[at],
                    int((group == at).sum()),
                    {m: means[m] for m in STRATUM_MEASURES},
                    means["skill"],
                    means["solved_within_steps"],
                    means["student_solved_within_steps"],
                )
            )
    return tuple(found)


def _labels(own: Evidence) -> dict[str, Sequence[str]]:
    starts = np.array([u[2] for u in own.wholes.units], dtype=np.int64)
    lines = [(r.previous_code or "").strip() for r in own.rollouts]
    counts = np.array([text.count("\n") + bool(text) for text in lines], dtype=np.int64)
    return {
        "student_outcome": ["solved" if r.solved else "not solved" for r in own.rollouts],
        "position": _ranges(starts, POSITIONS),
        "length": _ranges(own.wholes.length, LENGTHS),
        "program_lines": _ranges(counts, PROGRAM_LINES),
        "assignment": [u[1] for u in own.wholes.units],
    }


def _ranges(values: NDArray[np.int64], edges: Sequence[int]) -> list[str]:
    """The range of each value as text: ``3-4``, or ``17+`` in the last; the edges are where ranges begin."""
    names = []
    for low, high in zip(edges, [*edges[1:], None], strict=True):
        names.append(f"{low}+" if high is None else f"{low}" if high == low + 1 else f"{low}-{high - 1}")
    return [names[i] for i in (np.searchsorted(edges, values, side="right") - 1).clip(0)]


def _order(name: str) -> tuple[int, str]:
    number = name.rstrip("+").partition("-")[0]
    return (int(number) if number.isascii() and number.isdigit() else -1, name)
