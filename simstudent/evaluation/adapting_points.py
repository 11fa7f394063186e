"""How alike to their students' own work is what new students' vectors write, k by k: BLEU and correlations.

The measures are those of `behaviour`, from JSONL files alone. Traces are compared whole. Rollouts of dialogues are
compared within their window, the submissions that follow a start: on both sides the last program of the window counts
as the last one, nothing has a time, and how many submissions there are is left out, since the window decides it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simstudent.data.trace_text import Trace
from simstudent.evaluation.behaviour import counts, likeness_of
from simstudent.evaluation.behaviour_bootstrap import Resampled, average, moments, pearson, resampled, weights
from simstudent.evaluation.behaviour_columns import Generated, Pair, generated, key_of, pairs_of
from simstudent.evaluation.statistics import Estimate
from simstudent.rollout.records import Rollout
from simstudent.rollout.traces import Traced, read_traces, without_repeats

NOBODY, STUDENTS = "nobody", "students"
_VECTOR = re.compile(r"vector-k(\d+)")

Sides = tuple[list[Traced], dict[str, list[Traced]]]
"""What the students wrote, and by condition what was written in their place."""


@dataclass(frozen=True, slots=True)
class Point:
    """One condition: nobody's vector, a vector of ``k`` trajectories, or (``k`` None) a baseline without a model.

    ``bleu``: of last programs against the student's own (None without nltk). ``correlation``: the mean of the
    ``properties``' Pearson correlations over those that count (`Points.averaged`). ``_apart``: minus nobody's, on the
    same starts. ``samples``, and how many of them hold no program (``empty``).
    """

    condition: str
    k: int | None
    samples: int
    empty: int
    bleu: Estimate | None
    bleu_apart: Estimate | None
    correlation: Estimate | None
    correlation_apart: Estimate | None
    properties: Mapping[str, Estimate]


@dataclass(frozen=True, slots=True)
class Points:
    """All conditions on the same ``starts``: of ``of``, those on which every condition of the model wrote something.

    ``averaged``: the properties of which every condition of the model has a correlation.
    """

    starts: int
    of: int
    students: int
    titles: int
    averaged: tuple[str, ...]
    points: tuple[Point, ...]


def points(sides: Sides, *, without: Sequence[str] = (), resamples: int, seed: int = 0) -> Points:
    """The figures of all conditions, nobody first; ``without``: properties that say nothing here."""
    true, conditions = sides
    names = sorted(conditions, key=lambda name: (number_of(name) is None, number_of(name), name))
    model = [name for name in names if number_of(name) is not None]
    wrote = [{key_of(s) for s in conditions[name] if s.trace.programs} for name in model]
    common = set.intersection(*wrote) if wrote else set()
    asked_for = {key_of(t) for t in true} | {key_of(s) for name in model for s in conditions[name]}
    held = [t for t in true if t.trace.programs and key_of(t) in common]
    if not held or NOBODY not in conditions:
        return Points(0, len(asked_for), 0, 0, (), ())
    pairs = pairs_of(held)
    drawn = weights(pairs.student, pairs.title, resamples=resamples, seed=seed)
    asked = [name for name in pairs.truth if counts(name) and name not in without]
    columns = [generated(name, conditions[name], pairs) for name in names]

    def correlations(own: Generated) -> dict[str, Resampled]:
        tables = [moments(own.means[name], pairs.truth[name]) for name in asked]
        return dict(zip(asked, resampled(tables, pearson, drawn), strict=True))

    def bleu(own: Generated) -> Resampled | None:
        likeness = likeness_of(own, pairs)
        return None if likeness is None else likeness.bleu(drawn)

    each = {own.method: correlations(own) for own in columns}
    averaged = [name for name in asked if not any(math.isnan(each[m][name].value) for m in model)]
    bleus = {own.method: bleu(own) for own in columns}
    means = {name: _mean([each[name][of] for of in averaged]) for name in names}

    def shown(found: Mapping[str, Resampled | None], name: str, apart: bool) -> Estimate | None:
        one, reference = found[name], found[NOBODY]
        if one is None or reference is None or (apart and name == NOBODY):
            return None
        return (one - reference if apart else one).estimate(pairs.student)

    return Points(
        len(pairs.keys),
        len(asked_for),
        len(set(pairs.student.tolist())),
        len(set(pairs.title.tolist())),
        tuple(averaged),
        tuple(
            Point(
                own.method,
                number_of(own.method),
                own.samples,
                own.empty,
                shown(bleus, own.method, False),
                shown(bleus, own.method, True),
                shown(means, own.method, False),
                shown(means, own.method, True),
                {name: each[own.method][name].estimate(pairs.student) for name in asked},
            )
            for own in columns
        ),
    )


def number_of(condition: str) -> int | None:
    """The k of a condition, 0 of nobody's; None of a baseline."""
    found = _VECTOR.fullmatch(condition)
    return int(found[1]) if found else 0 if condition == NOBODY else None


def _mean(found: Sequence[Resampled]) -> Resampled | None:
    """The mean; None where one of them has no value: over fewer it would be another figure."""
    return None if not found or any(math.isnan(f.value) for f in found) else average(found)


def of_traces(folder: Path) -> Sides:
    """Both sides of a folder of traces."""
    held = {path.stem: read_traces(path) for path in folder.glob("*.jsonl")}
    return held.pop(STUDENTS, []), held


IN_A_WINDOW = ("states",)
"""The property that says nothing of a rollout."""


def of_rollouts(rollouts: Sequence[Rollout], assignments: Mapping[str, Mapping[str, Any]]) -> Sides:
    """Both sides of rollouts, from the program before each start on; those that failed are left out.

    A rollout knows of the student's submissions only those that it reached, so the student's are taken from the
    longest one; a start of which none reached all is left out of the students' side. ``assignments``: as they are
    written beside rollouts.
    """
    longest: dict[Pair, Rollout] = {}
    conditions: dict[str, list[Traced]] = {}
    for r in (r for r in rollouts if r.error is None):
        made = _within(r, [s.code for s in r.steps if s.code is not None], assignments)
        conditions.setdefault(r.method, []).append(made)
        before = longest.get(key_of(made))
        if before is None or len(r.steps) > len(before.steps):
            longest[key_of(made)] = r
    whole = [r for r in longest.values() if len(r.steps) == r.truths]
    return [_within(r, [s.student_code for s in r.steps], assignments) for r in whole], conditions


def _within(r: Rollout, programs: Sequence[str], assignments: Mapping[str, Mapping[str, Any]]) -> Traced:
    """The programs of a rollout's window behind the one before it; none where none was handed in."""
    before = (r.previous_code,) if programs and r.previous_code is not None else ()
    states = (*before, *programs)
    trace = without_repeats(
        Trace(r.assignment, states, ("",) * len(states), tuple(range(1, len(states) + 1)), complete=True)
    )
    language = str(assignments.get(r.assignment, {}).get("language", "python"))
    return Traced(r.student, r.assignment, language, trace, r.start, r.sample, r.cell)
