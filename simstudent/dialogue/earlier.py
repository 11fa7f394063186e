"""A student's earlier assignments, as history before the first turn: what was done before this one was begun.

They stand in the first message, before this assignment, and are never trained there: they are trained in dialogues
of their own. The encoder shows the latest that fit into ``dialogue.history.tokens``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import takewhile

from graders import Grade, Pool
from simstudent.data.pieces import instant
from simstudent.data.records import Assignment, Trajectory
from simstudent.data.regrade import regrade
from simstudent.dialogue.serialize import Earlier, feedback_text, fence, opening
from simstudent.errors import SimstudentError
from simstudent.recipe import DialogueSection


def earlier_work(
    held: Sequence[Trajectory],
    side: Sequence[Trajectory],
    assignments: Mapping[str, Assignment],
    pool: Pool,
    look: DialogueSection,
) -> dict[str, tuple[Earlier, ...]]:
    """The earlier work of each trajectory of ``held`` by its key, from its student's trajectories in ``side``.

    Empty where the recipe asks for none. Raises SimstudentError when a time is missing.
    """
    if not look.history.assignments:
        return {}
    by_student: dict[str, list[Trajectory]] = {}
    for t in side:
        by_student.setdefault(t.student, []).append(t)
    found = {t.key: before(t, by_student.get(t.student, ()), look.history.assignments) for t in held}
    used = {w.key for works in found.values() for w in works}
    grades = regrade([t for t in side if t.key in used], assignments, pool)
    return {
        key: tuple(told(w, assignments[w.assignment], grades[w.key], look) for w in works)
        for key, works in found.items()
    }


def before(t: Trajectory, others: Sequence[Trajectory], most: int) -> list[Trajectory]:
    """What the student had submitted to other assignments before the first submission of ``t``.

    At most ``most`` assignments, those worked on last, in the order of their latest submission shown.
    """
    began = instant(_time(t, 0))
    found = []
    for other in others:
        if other.assignment == t.assignment:
            continue
        dated = ((instant(_time(other, n)), s) for n, s in enumerate(other.submissions))
        kept = list(takewhile(lambda item: item[0] < began, dated))
        if kept:
            found.append((kept[-1][0], other.key, replace(other, submissions=tuple(s for _, s in kept))))
    return [cut for _, _, cut in sorted(found, key=lambda item: item[:2])[-most:]]


def _time(t: Trajectory, number: int) -> str:
    time = t.submissions[number].time
    if time is None:
        raise SimstudentError(
            f"{t.key}, submission {number + 1}: it has no time, so what came before it is not known; "
            "set dialogue.history.assignments: 0"
        )
    return time


def told(
    t: Trajectory,
    assignment: Assignment,
    grades: Sequence[Grade],
    look: DialogueSection,
    *,
    title: str | None = None,
    heading: str = "Your submission",
) -> Earlier:
    """Work as text: the statement, or another ``title``; each program whole, with feedback at the recipe's level."""
    graded = zip(t.submissions, grades, strict=False)
    programs = [(s.code, feedback_text(assignment, s, g, look.feedback)) for s, g in graded]
    return as_earlier(programs, assignment, look, title=title, heading=heading)


def as_earlier(
    programs: Sequence[tuple[str, str]],
    assignment: Assignment,
    look: DialogueSection,
    *,
    title: str | None = None,
    heading: str = "Your submission",
) -> Earlier:
    """`told` of programs, each with its feedback (which is not shown at level none)."""
    states = []
    for code, feedback in programs:
        text = f"{heading}:\n{fence(code, assignment.language)}\n\n"
        states.append(text if look.feedback == "none" else f"{text}Autograder:\n{feedback}\n\n")
    return Earlier(title or f"An earlier assignment:\n{opening(assignment)}\n\n", tuple(states))
