"""How many trajectories of a new student does a vector need? The first k teach it, all else being frozen.

The same later trajectories are scored for every k, and beside them with nobody's vector, with another newcomer's (it
shares what a vector learns of the course in general) and with those k trajectories in the context (Ross et al. 2025,
section 5.3, where BLEU levels off near k = 4).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from pydantic import ValidationError

from simstudent.data.records import Trajectory
from simstudent.data.split import times
from simstudent.dialogue.encode import Row, make_encoder
from simstudent.errors import SimstudentError
from simstudent.evaluation.bench import Bench, Compared, Losses, by_trajectory
from simstudent.recipe import DialogueSection, Recipe
from simstudent.training.adapt import Learning, Task, fit
from simstudent.training.scoring import as_student, score
from simstudent.training.students import NOBODY, Roster, Students

TUNING = 0.05
"""Share of a new student's later trajectories, at least one, that decides when to stop; the first of them."""


@dataclass(frozen=True, slots=True)
class Newcomer:
    """A new student's trajectories, oldest first: to learn from, to stop by, to be judged by."""

    student: str
    first: tuple[Trajectory, ...]
    tuning: tuple[Trajectory, ...]
    rest: tuple[Trajectory, ...]


@dataclass(frozen=True, slots=True)
class Adapted:
    """``compared``: nobody (the reference), ``vector k=..``, ``another's k=..`` and ``history k=..``.

    ``epochs``: by k, after how many a vector was best, on average. ``vectors``: by k, those of the first seed, with the
    students as their roster.
    """

    compared: Compared
    epochs: Mapping[int, float]
    vectors: Mapping[int, Students]


def newcomers(bench: Bench, most: int, only: Sequence[str] = ()) -> tuple[list[Newcomer], list[str]]:
    """The test side's students without a vector: those with trajectories enough for k = ``most``, and the others.

    Raises SimstudentError when a trajectory has no time, or a student asked for (``only``) is not there.
    """
    by_student: dict[str, list[Trajectory]] = {}
    for t in bench.data.sides["test"]:
        if t.student not in bench.trained.students.roster.numbers:
            by_student.setdefault(t.student, []).append(t)
    if gone := sorted(set(only) - set(by_student)):
        raise SimstudentError(
            f"--students: on the test side there is no student without a vector called {', '.join(gone[:5])}"
        )
    found, few = [], []
    for student in sorted(only or by_student):
        own = sorted(by_student[student], key=_began)
        if len(own) < most + 2:
            few.append(student)
            continue
        cut = most + max(1, round(TUNING * (len(own) - most)))
        found.append(Newcomer(student, tuple(own[:most]), tuple(own[most:cut]), tuple(own[cut:])))
    return found, few


def _began(t: Trajectory) -> tuple[float, str]:
    span = times(t)
    if span is None:
        raise SimstudentError(f"{t.key} has no times, so which trajectories of a new student come first is not known")
    return span[0], t.key


def adapted(
    bench: Bench, held: Sequence[Newcomer], ks: Sequence[int], *, learning: Learning, seeds: int, history_tokens: int
) -> Adapted:
    """Learn vectors from the first k trajectories of each newcomer, for each k and seed; score the later ones.

    Models of traces see no history, so there is nothing to set beside the vectors. Raises SimstudentError when the
    history would fill the window.
    """
    trained = bench.trained
    looks = {k: _look(trained.recipe, k, history_tokens) for k in ks}
    rows = _by_key(bench.rows([t for n in held for t in (*n.first, *n.tuning)]))
    tasks, places = [], []
    for k in ks:
        for n in held:
            task = Task(_of(rows, n.first[:k]), _of(rows, n.tuning))
            if task.train and task.tuning:  # else no submission of theirs fits the window
                tasks.append(task)
                places.append((k, n.student))
    bench.say(f"New students: {len(held)}; {len(tasks)} vectors to learn, {seeds} times")
    fits = [fit(trained, tasks, learning, seed=seed, say=bench.say) for seed in range(1, seeds + 1)]
    later = [t for n in held for t in n.rest]
    students = {t.key: t.student for t in later}
    judged = bench.rows(later)
    losses: dict[str, Losses] = {
        "nobody": by_trajectory(judged, score(trained, [as_student(r, NOBODY) for r in judged]))
    }
    names = [n.student for n in held]
    numbers = {place: number for number, place in enumerate(places, 1)}
    for k in ks:
        own = {student: numbers[k, student] for student in names if (k, student) in numbers}
        # What a vector learns of students in general is not about its student: the next newcomer's is the control.
        others = dict(zip(own, [*list(own.values())[1:], *list(own.values())[:1]], strict=True))
        for label, number in ((f"vector k={k}", own), (f"another's k={k}", others)):
            if len(own) < 2 and number is others:
                continue
            asked = [as_student(r, number[students[r.key]]) for r in judged if students[r.key] in number]
            each = [score(trained, asked, f.students) for f in fits]
            losses[label] = by_trajectory(asked, np.mean(each, axis=0))
    for k, look in looks.items():
        if look is None:
            continue
        shown = _with_history(bench, held, later, k, look)
        losses[f"history k={k}"] = by_trajectory(shown, score(trained, shown))
    best = {place: [f.epochs[number - 1] for f in fits] for place, number in numbers.items()}
    epochs = {k: float(np.mean([e for place, own in best.items() if place[0] == k for e in own])) for k in ks}
    vectors = {k: _roster(fits[0].students, [p for p in places if p[0] == k], numbers) for k in ks}
    return Adapted(bench.compare(losses, students, "nobody"), epochs, vectors)


def _look(recipe: Recipe, k: int, tokens: int) -> DialogueSection | None:
    """The recipe's dialogues with room for k earlier assignments; None of traces."""
    if recipe.dialogue.format == "trace":
        return None
    raw = recipe.dialogue.model_dump()
    try:
        return DialogueSection.model_validate(
            {**raw, "history": {**raw["history"], "assignments": k, "tokens": tokens}}
        )
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise SimstudentError(f"--history-tokens {tokens}: {reason}. Give fewer") from None


def _with_history(
    bench: Bench, held: Sequence[Newcomer], later: Sequence[Trajectory], k: int, look: DialogueSection
) -> tuple[Row, ...]:
    """The later trajectories with the first ``k`` in the context, as nobody's."""
    recipe = bench.trained.recipe
    encoder = make_encoder(
        recipe.model_copy(update={"dialogue": look}), bench.trained.encoder.tokenizer, bench.trained.encoder.template
    )
    texts = bench.history([t for n in held for t in n.first[:k]])
    shown = {n.student: tuple(texts[t.key] for t in n.first[:k]) for n in held}
    return bench.rows(later, encoder, {t.key: shown[t.student] for t in later})


def _by_key(rows: Sequence[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row.key, []).append(row)
    return found


def _of(rows: Mapping[str, Sequence[Row]], held: Sequence[Trajectory]) -> tuple[Row, ...]:
    return tuple(r for t in held for r in rows.get(t.key, ()))


def _roster(students: Students, places: Sequence[tuple[int, str]], numbers: Mapping[tuple[int, str], int]) -> Students:
    """The vectors of some places under their students' names."""
    own = students.own[[numbers[p] - 1 for p in places]]
    return replace(students, roster=Roster.of([student for _, student in places]), own=own)
