"""From traces to columns: every property of every (student, title) pair, generated and true, side by side."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from simstudent.data.trace_text import Trace
from simstudent.evaluation import behaviour_published
from simstudent.evaluation.behaviour_properties import Properties, properties
from simstudent.evaluation.behaviour_runs import Outcomes, with_outcome
from simstudent.evaluation.spread import cores, spread
from simstudent.evaluation.statistics import Array
from simstudent.rollout.traces import Traced

PUBLISHED = "published: "
"""What the names of the published definitions begin with."""

Pair = tuple[str, str, int]
"""Student, title, and how many of the student's states were given."""


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """The (student, title) pairs that are judged, in order, and what is true of them.

    ``student`` and ``title``: of each pair a number; ``cell``: its cell of the test side, or None. ``truth``: by
    property, a value a pair (NaN: does not apply). ``final``: the last program.
    """

    keys: tuple[Pair, ...]
    student: NDArray[np.int64]
    title: NDArray[np.int64]
    cell: tuple[str | None, ...]
    truth: Mapping[str, Array]
    final: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Generated:
    """What one method wrote for the pairs. ``means``: by property, the mean over a pair's samples (NaN: none).

    ``finals``: of each pair the last program of every sample that has one. ``samples``: how many there were, how many
    without any finished state (``empty``), and how many without an end (``censored``).
    """

    method: str
    means: Mapping[str, Array]
    finals: tuple[tuple[str, ...], ...]
    samples: int
    empty: int
    censored: int


def key_of(s: Traced) -> Pair:
    """The pair that a trace belongs to."""
    return s.student, s.assignment, s.given


def measured(item: tuple[Trace, str, tuple[str, ...] | None]) -> Properties | None:
    """All properties of one trace in a language, ours and the published ones; None where no state was finished."""
    trace, language, keywords = item
    if not trace.programs:
        return None
    ours = properties(trace, language, keywords)
    theirs = behaviour_published.properties(replace(trace, programs=behaviour_published.with_newlines(trace.programs)))
    return {**ours, **{f"{PUBLISHED}{name}": value for name, value in theirs.items()}}


def _measured(
    samples: Sequence[Traced], keywords: tuple[str, ...] | None, outcomes: Outcomes | None
) -> list[Properties | None]:
    asked = [(s.trace, s.language, keywords) for s in samples]
    distinct = list(dict.fromkeys(asked))  # the same training trace stands for many pairs
    # Milliseconds each: a thousand of them are worth a process.
    workers = max(1, min(cores(), len(distinct) // 1000))
    known = dict(zip(distinct, spread(measured, distinct, workers), strict=True))
    found = [known[item] for item in asked]
    if outcomes is None:
        return found
    both = zip(found, samples, strict=True)
    return [None if values is None else with_outcome(values, s, outcomes) for values, s in both]


def pairs_of(
    students: Sequence[Traced], keywords: tuple[str, ...] | None = None, outcomes: Outcomes | None = None
) -> Pairs:
    """The pairs of true traces, in the order of their keys. Raises ValueError for none.

    ``keywords``: counted in last programs, over the language's own. ``outcomes``: whether last programs run.
    """
    held = sorted((s for s in students if s.trace.programs), key=key_of)
    if not held:
        raise ValueError("no true trace to compare with")
    found = _measured(held, keywords, outcomes)
    names = {s.student: n for n, s in reversed(list(enumerate(held)))}
    titles = {s.assignment: n for n, s in reversed(list(enumerate(held)))}
    return Pairs(
        tuple(map(key_of, held)),
        _numbers([names[s.student] for s in held]),
        _numbers([titles[s.assignment] for s in held]),
        tuple(s.cell for s in held),
        {
            name: np.array([p.get(name, math.nan) for p in found if p is not None], dtype=np.float64)
            for name in dict.fromkeys(name for p in found for name in p or ())
        },
        tuple(s.trace.programs[-1] for s in held),
    )


def _numbers(values: Sequence[int]) -> NDArray[np.int64]:
    """0, 1, 2, ... in place of any numbers."""
    return np.unique(np.array(values, dtype=np.int64), return_inverse=True)[1].astype(np.int64)


def generated(
    method: str,
    samples: Sequence[Traced],
    pairs: Pairs,
    keywords: tuple[str, ...] | None = None,
    outcomes: Outcomes | None = None,
) -> Generated:
    """A method's traces in columns; those of other pairs are left out. The rest is as for `pairs_of`."""
    place = {key: n for n, key in enumerate(pairs.keys)}
    own = [s for s in samples if key_of(s) in place]
    found = _measured(own, keywords, outcomes)
    columns = {name: np.full((len(pairs.keys), _most(own)), math.nan) for name in pairs.truth}
    finals: list[list[str]] = [[] for _ in pairs.keys]
    for sample, values in sorted(zip(own, found, strict=True), key=lambda both: both[0].sample):
        if values is None:
            continue
        at = place[key_of(sample)]
        for name, column in columns.items():
            column[at, len(finals[at])] = values.get(name, math.nan)
        finals[at].append(sample.trace.programs[-1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a pair without a value is NaN, and no news
        means = {name: np.nanmean(column, axis=1) for name, column in columns.items()}
    return Generated(
        method,
        means,
        tuple(map(tuple, finals)),
        len(own),
        sum(values is None for values in found),
        sum(not s.trace.complete for s in own),
    )


def _most(samples: Sequence[Traced]) -> int:
    """The most samples of one pair, at least 1."""
    return max(Counter(map(key_of, samples)).values(), default=1)
