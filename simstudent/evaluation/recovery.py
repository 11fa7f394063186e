"""How recoveries went: solved or not, in how many attempts, and whose program came out.

Beside the conditions stand the students themselves (what they really did next), ``stays`` (the failing program is left
as it is) and, where there is one, the reference solution. Likeness is 1 - Levenshtein distance / longer length, in
characters, of the last program: to the one that the student ended with, and to the failing program, which is the
student's own style; a reference solution solves everything and is in nobody's style.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rapidfuzz.distance import Levenshtein

from simstudent.evaluation.numbers import shown, table
from simstudent.evaluation.statistics import Array, Estimate, Totals, estimate, micro, resample

MEASURES: Mapping[str, str] = {
    "solved": "solved",
    "solved_in": "attempts to it",
    "attempts": "attempts",
    "like_students_last": "like the student's last",
    "like_failing": "like the failing one",
}
"""Names of the figures, and how tables head them."""
STUDENTS, STAYS, REFERENCE = "the students", "stays", "reference solution"

Made = tuple[tuple[str, ...], tuple[float, ...]]
"""Programs written after a start, and their grades."""


@dataclass(frozen=True, slots=True)
class Recovered:
    """Figures of one condition by measure; ``apart``: its differences to the first condition, on the same starts."""

    condition: str
    figures: Mapping[str, Estimate]
    apart: Mapping[str, Estimate]


def recovered(
    starts: Mapping[str, Mapping[str, Any]],
    conditions: Mapping[str, Mapping[str, Made]],
    *,
    attempts: int,
    resamples: int,
    seed: int,
) -> list[Recovered]:
    """``starts`` and, by condition, what was made of each, by key. Intervals: BCa, bootstrap over students.

    At most ``attempts`` of the students' own programs count, as of everybody's.
    """
    real = {key: (tuple(s["programs"][:attempts]), tuple(s["grades"][:attempts])) for key, s in starts.items()}
    everything: dict[str, Mapping[str, Made]] = {**conditions, STUDENTS: real, STAYS: dict.fromkeys(starts, ((), ()))}
    if all(s["reference"] for s in starts.values()):
        everything[REFERENCE] = {key: ((s["reference"],), (1.0,)) for key, s in starts.items()}
    names = sorted({str(s["student"]) for s in starts.values()})
    number = {name: n for n, name in enumerate(names)}
    rows = {name: {key: values(starts[key], of[key]) for key in starts if key in of} for name, of in everything.items()}
    first = next(iter(rows))

    def totals(pick: Callable[[str], float], keys: Sequence[str]) -> Totals:
        sums, counts = np.zeros((len(names), 1)), np.zeros((len(names), 1))
        for key in keys:
            value = pick(key)
            if not np.isnan(value):
                sums[number[str(starts[key]["student"])]] += value
                counts[number[str(starts[key]["student"])]] += 1
        return Totals(sums, counts)

    quantities: dict[str, Totals] = {}
    for name, of in rows.items():
        both = [key for key in of if key in rows[first]]
        for at, measure in enumerate(MEASURES):
            quantities[f"{name}/{measure}"] = totals(lambda key, of=of, at=at: of[key][at], list(of))  # type: ignore[misc]
            quantities[f"{name}-/{measure}"] = totals(
                lambda key, of=of, at=at: of[key][at] - rows[first][key][at],  # type: ignore[misc]
                both,
            )
    sample = resample(quantities, resamples=resamples, seed=seed)
    return [
        Recovered(
            name,
            {m: estimate(sample, f"{name}/{m}", micro) for m in MEASURES},
            {} if name == first else {m: estimate(sample, f"{name}-/{m}", micro) for m in MEASURES},
        )
        for name in rows
    ]


def values(start: Mapping[str, Any], made: Made) -> Array:
    """The measures of one recovery in their order; attempts to a solution are NaN without one."""
    programs, grades = made
    right = next((n for n, grade in enumerate(grades, 1) if grade >= 1), None)
    last = programs[-1] if programs else start["failing"]
    return np.array(
        [
            float(right is not None),
            np.nan if right is None else float(right),
            float(len(programs)),
            Levenshtein.normalized_similarity(last, start["programs"][-1]),
            Levenshtein.normalized_similarity(last, start["failing"]),
        ]
    )


def to_markdown(found: Sequence[Recovered], *, starts: int, attempts: int, split: str, strong: str | None) -> str:
    """The table, the differences to the first condition, and what they rest on."""
    students = found[0].figures["solved"].students
    text = [
        f"## Recovery from failing programs ({split}): {starts} starts of {students} students, "
        f"at most {attempts} attempts\n",
        table(
            ["", "n", *MEASURES.values()],
            [[r.condition, str(r.figures["solved"].pairs), *(shown(r.figures[m]) for m in MEASURES)] for r in found],
        ),
        "",
    ]
    apart = [[r.condition, *(shown(r.apart[m], signed=True) for m in MEASURES)] for r in found if r.apart]
    text += [f"Differences to {found[0].condition} on the same starts:\n", table(["", *MEASURES.values()], apart), ""]
    if strong is not None:
        text.append(f"The strong student is {strong}: of those with most training trajectories who goes back least.")
    text.append("n: recoveries; fewer than starts where the engine or the grader failed (--resume runs them again).")
    text.append("Likeness: 1 - Levenshtein / longer length. Brackets: 95 % intervals by bootstrap over students.")
    return "\n".join(text) + "\n"
