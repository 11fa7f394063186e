"""Probes: what a linear model can read off a model's states of a trace's beginning (Ross et al. 2025, section 5).

Every prefix of a trajectory, up to and including submission n, is a row of states; ridge regression predicts from it
what holds of the prefix or comes after it. It departs from the published code in these:

* Folds hold whole trajectories, or whole students: prefixes of one trace on both sides leak.
* The control permutes what is predicted over train and test alike, and runs through the same folds.
* Each prefix is predicted once, by the fold that holds it back: so there are intervals, by bootstrap over students.
* Beside a model's states stand two things that need no model: the number of submissions and characters so far
  (``position``), and the words of the prefix (``words``). What they predict as well needs no explanation.
* Ridge chooses its penalty within the training folds, over folds of whole trajectories or students again
  (grouped_ridge.py), on standardised states: left-out rows alone have near copies among the others.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from simstudent.data.records import Trajectory
from simstudent.errors import missing_extra
from simstudent.evaluation.behaviour_times import instants
from simstudent.evaluation.grouped_ridge import predicted
from simstudent.evaluation.statistics import Array, Estimate, draws, interval

Measure = Literal["R2", "AUC", "accuracy"]
By = Literal["trajectory", "student"]

TARGETS: Mapping[str, Measure] = {
    "title": "accuracy",
    "is_last": "AUC",
    "past_half": "AUC",
    "backtracks_later": "AUC",
    "solves_at_last": "AUC",
    "attempts_left": "R2",
    "seconds_left": "R2",
    "distance_to_end": "R2",
}
"""What is predicted of a prefix, and how well is measured: R2 against the training folds' mean, the area under the
ROC curve (.5 is chance), accuracy. Seconds and distances (Levenshtein, characters) as log(1 + x)."""

LEAST = 10
"""A title takes part when so many trajectories have it."""


@dataclass(frozen=True, slots=True, eq=False)
class Prefixes:
    """Prefixes of trajectories: whose, of which, and what is true of each.

    ``targets``: (prefixes,) each, NaN where it does not apply; ``title`` holds numbers of titles. ``states``: by the
    name of a representation, (prefixes, size).
    """

    trajectories: tuple[str, ...]
    students: tuple[str, ...]
    targets: Mapping[str, Array]
    states: Mapping[str, Array]


@dataclass(frozen=True, slots=True)
class Probe:
    """How well a representation predicts a target; ``control`` is the same with what is predicted shuffled.

    ``behind`` is the first representation's value minus this one's, on the same prefixes; None for the first itself.
    """

    target: str
    representation: str
    measure: Measure
    value: Estimate
    control: float | None
    behind: Estimate | None


def targets_of(t: Trajectory, grades: Sequence[float] | None) -> list[dict[str, float]]:
    """What is true of each prefix of a trajectory, the shortest first. ``grades`` of all submissions, if there are any.

    Of a trace that was cut before its end (censored) nothing is known that needs the end.
    """
    from rapidfuzz.distance import Levenshtein

    states = [s.code for s in t.submissions]
    if "censored" in t.submissions[-1].more:
        return [{name: math.nan for name in TARGETS if name != "title"} for _ in states]
    ends = [Levenshtein.distance(code, states[-1]) for code in states]
    # After which submissions a later one goes away from the last: up to the last that does.
    away = max((n for n, (a, b) in enumerate(pairwise(ends), 1) if b > a), default=0)
    times = instants([s.time or "" for s in t.submissions])
    found = []
    for number, (end, time) in enumerate(zip(ends, times, strict=True), 1):
        left = times[-1] - time  # NaN where a time is not known
        found.append(
            {
                "is_last": float(number == len(states)),
                "past_half": float(number > len(states) / 2),
                "backtracks_later": float(number <= away),
                "solves_at_last": math.nan if grades is None else float(grades[-1] >= 1),
                "attempts_left": float(len(states) - number),
                "seconds_left": math.nan if math.isnan(left) else math.log1p(max(0.0, left)),
                "distance_to_end": math.log1p(end),
            }
        )
    return found


def frequent(titles: Sequence[str], trajectories: Sequence[str]) -> Array:
    """Numbers of the titles that at least LEAST trajectories have; NaN for the others."""
    counts = Counter(title for title, _ in set(zip(titles, trajectories, strict=True)))
    known = {title: float(n) for n, title in enumerate(sorted(t for t, c in counts.items() if c >= LEAST))}
    return np.array([known.get(title, math.nan) for title in titles])


def word_counts(texts: Sequence[str], size: int = 512) -> Array:
    """How often each word (hashed into ``size`` columns, with signs) stands in a text; those of parts add up."""
    try:
        from sklearn.feature_extraction.text import HashingVectorizer
    except ImportError as error:
        raise missing_extra("scikit-learn", "traces") from error
    words = HashingVectorizer(n_features=size, token_pattern=r"\w+|[^\w\s]", norm=None)
    return np.asarray(words.transform(texts).toarray())


def probes(prefixes: Prefixes, *, by: By, folds: int = 5, resamples: int = 1000, seed: int = 1) -> list[Probe]:
    """All probes, by target and representation in their orders; targets that do not vary are left out.

    Intervals: percentile, 95 %, bootstrap over students.
    """
    groups = np.array(prefixes.trajectories if by == "trajectory" else prefixes.students)
    truths: dict[str, tuple[NDArray[np.int64], Array]] = {}
    for target in TARGETS:
        rows = np.flatnonzero(~np.isnan(prefixes.targets[target]))
        values = prefixes.targets[target][rows]
        if len(np.unique(values)) > 1 and len(np.unique(groups[rows])) >= 2 * folds:
            truths[target] = rows, values
    # Targets that are known of the same prefixes, and each one's control, are fitted together.
    together: dict[bytes, dict[str, tuple[Array, Array]]] = {}
    for target, (rows, values) in truths.items():
        shuffled = np.random.default_rng(seed).permutation(values)
        together.setdefault(rows.tobytes(), {})[target] = values, shuffled
    scored: dict[tuple[str, str], tuple[Scored, Scored]] = {}
    for asked in together.values():
        rows = truths[next(iter(asked))][0]
        for name, states in prefixes.states.items():
            for target, both in _predicted(states[rows], groups[rows], asked, folds, seed).items():
                scored[target, name] = both
    found = []
    for target, (rows, _) in truths.items():
        students = np.unique(np.array(prefixes.students)[rows], return_inverse=True)[1]
        drawn = draws(int(students.max()) + 1, resamples=resamples, seed=seed)[:, students]
        found += _compared(target, {name: scored[target, name] for name in prefixes.states}, students, drawn)
    return found


def _compared(
    target: str, scored: Mapping[str, tuple[Scored, Scored]], students: NDArray[np.int64], drawn: Array
) -> list[Probe]:
    """One target by all representations, each beside its control and behind the first."""
    found: list[Probe] = []
    once = np.ones((1, len(students)))
    first: tuple[float, Array] | None = None
    for name, (real, control) in scored.items():
        value, resampled = real.values(once)[0], real.values(drawn)
        made = _estimate(value, resampled, len(students), students)
        behind = None
        if first is None:
            first = value, resampled
        else:
            behind = _estimate(first[0] - value, first[1] - resampled, len(students), students)
        chance = control.values(once)[0]
        found.append(Probe(target, name, TARGETS[target], made, None if np.isnan(chance) else float(chance), behind))
    return found


def _estimate(value: float, drawn: Array, pairs: int, students: NDArray[np.int64]) -> Estimate:
    if np.isnan(value):
        return Estimate(None, pairs, len(np.unique(students)), None)
    return Estimate(float(value), pairs, len(np.unique(students)), interval(float(value), drawn, np.zeros(1)))


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """What was predicted of each row by the fold that held it back. ``mean``: that fold's training mean (for R2)."""

    measure: Measure
    truth: Array
    predicted: Array
    mean: Array

    def values(self, weights: Array) -> Array:
        """The measure under each row of weights, (resamples,); NaN where it has no value."""
        if self.measure == "AUC":
            return self._auc(weights)
        if self.measure == "accuracy":
            return np.asarray(weights @ (self.truth == self.predicted) / weights.sum(axis=1))
        left = weights @ (self.truth - self.predicted) ** 2
        return np.asarray(1 - left / (weights @ (self.truth - self.mean) ** 2))

    def _auc(self, weights: Array) -> Array:
        """The share of (positive, negative) pairs in the right order, ties counting half."""
        _, rank = np.unique(self.predicted, return_inverse=True)
        order = np.argsort(rank, kind="stable")
        starts = np.flatnonzero(np.diff(rank[order], prepend=-1))
        positive = self.truth[order] > 0.5
        up = np.add.reduceat(weights[:, order] * positive, starts, axis=1)
        down = np.add.reduceat(weights[:, order] * ~positive, starts, axis=1)
        below = np.cumsum(down, axis=1) - down / 2
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray((up * below).sum(axis=1) / (up.sum(axis=1) * down.sum(axis=1)))


def _predicted(
    states: Array, groups: NDArray[Any], asked: Mapping[str, tuple[Array, Array]], folds: int, seed: int
) -> dict[str, tuple[Scored, Scored]]:
    """Targets and their controls predicted by ridge over grouped folds.

    Each has its own penalty, as if it were fitted alone. Titles are classes: a column each, 1 where a row has it, that
    share one penalty; the highest is predicted.
    """
    questions = [(target, values) for target, both in asked.items() for values in both]
    classes = [np.unique(values) if TARGETS[target] == "accuracy" else None for target, values in questions]
    columns = [
        values[:, None] if of is None else (values[:, None] == of).astype(float)
        for (_, values), of in zip(questions, classes, strict=True)
    ]
    starts = np.cumsum([0, *(c.shape[1] for c in columns)])
    together = np.repeat(np.arange(len(columns)), np.diff(starts))
    found, mean = predicted(states.astype(np.float64), np.hstack(columns), groups, together, folds, seed)
    made = []
    for (target, values), of, start, end in zip(questions, classes, starts[:-1], starts[1:], strict=True):
        answer = found[:, start] if of is None else of[found[:, start:end].argmax(axis=1)]
        made.append(Scored(TARGETS[target], values, answer, mean[:, start]))
    return dict(zip(asked, zip(made[::2], made[1::2], strict=True), strict=True))
