"""Examples in the prompt: whole trajectories of training students, as they stand before an assignment.

They are shown like a student's own earlier assignments (`simstudent.dialogue.earlier`), in the first message.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from graders import Pool
from simstudent.data.records import Assignment, Trajectory
from simstudent.data.regrade import regrade
from simstudent.data.split import position
from simstudent.dialogue.earlier import told
from simstudent.dialogue.encode import Encoder
from simstudent.dialogue.serialize import Earlier, opening
from simstudent.recipe import DialogueSection
from simstudent.rollout.sections import FewShotSection
from simstudent.rollout.simulate import Past, Reply, Start, Student

SAME = "How another student worked on this assignment:\n\n"
OTHER = "How another student worked on another assignment:\n{}\n\n"


@dataclass(frozen=True, slots=True)
class Example:
    """A training student's trajectory as text; the title is for another assignment's prompt."""

    trajectory: Trajectory
    work: Earlier

    def shown(self, assignment: str) -> Earlier:
        return replace(self.work, title=SAME) if assignment == self.trajectory.assignment else self.work


def examples(
    training: Sequence[Trajectory],
    assignments: Mapping[str, Assignment],
    wanted: set[str],
    pool: Pool,
    look: DialogueSection,
) -> list[Example]:
    """Training trajectories for prompts of the assignments ``wanted``; all others too where one of them has none."""
    if wanted <= {t.assignment for t in training}:
        training = [t for t in training if t.assignment in wanted]
    grades = regrade(training, assignments, pool)
    found = []
    for t in training:
        title = OTHER.format(opening(assignments[t.assignment]))
        work = told(t, assignments[t.assignment], grades[t.key], look, title=title, heading="Submission")
        found.append(Example(t, work))
    return found


def few_shot(
    known: Sequence[Example], section: FewShotSection, encoder: Encoder, seed: int
) -> Callable[[Trajectory], tuple[Earlier, ...]]:
    """Chooses the examples for a trajectory: whole ones, as many as ``examples`` and `room_for` allow.

    In an order drawn by the seed and the trajectory's key, so that all its starts and samples see the same. Of the same
    assignment, where training has any, else of others; never of the student.
    """
    by_assignment: dict[str, list[Example]] = {}
    for example in known:
        by_assignment.setdefault(example.trajectory.assignment, []).append(example)
    chosen: dict[str, tuple[Earlier, ...]] = {}

    def choose(t: Trajectory) -> tuple[Earlier, ...]:
        near = [e for e in by_assignment.get(t.assignment, ()) if e.trajectory.student != t.student]
        able = near or [e for e in known if e.trajectory.student != t.student]
        found: list[Earlier] = []
        room = room_for(section, encoder)
        for example in sorted(able, key=lambda e: position(seed, "few shots", t.key, e.trajectory.key)):
            work = example.shown(t.assignment)
            size = encoder.size(work)
            if size <= room:
                found.append(work)
                room -= size
            if len(found) == section.examples:
                break
        return tuple(found)

    def remembered(t: Trajectory) -> tuple[Earlier, ...]:
        if t.key not in chosen:
            chosen[t.key] = choose(t)
        return chosen[t.key]

    return remembered


def room_for(section: FewShotSection, encoder: Encoder) -> int:
    """Tokens that the examples may take: at most half of what the window leaves, or nothing of a dialogue would fit."""
    return min(section.tokens, (encoder.window - encoder.answer_tokens) // 2)


def roomy(encoder: Encoder, section: FewShotSection) -> Encoder:
    """The encoder with room for the examples beside the student's own earlier work."""
    wider = copy.copy(encoder)
    wider.history_tokens += room_for(section, encoder)
    return wider


def with_examples(student: Student, choose: Callable[[Trajectory], tuple[Earlier, ...]]) -> Student:
    """A student that is shown examples before its own earlier work."""

    async def respond(start: Start, past: Past, k: int) -> Reply:
        earlier = (*choose(start.trajectory), *start.earlier)
        return await student(replace(start, earlier=earlier), past, k)

    return respond
