"""What a training student handed in next after the most similar program: retrieval in place of a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from graders.compare import trimmed
from simstudent.data.records import Trajectory
from simstudent.data.split import position
from simstudent.errors import SimstudentError


@dataclass(frozen=True, slots=True)
class Move:
    """What a student handed in after a program: ``key`` is the trajectory's."""

    student: str
    key: str
    code: str


@dataclass(frozen=True, slots=True)
class Moves:
    """The moves of some trajectories: those that begin one, and the others by the program before them (trimmed)."""

    first: list[Move] = field(default_factory=list)
    after: dict[str, list[Move]] = field(default_factory=dict)

    def add(self, t: Trajectory) -> None:
        self.first.append(Move(t.student, t.key, t.submissions[0].code))
        for before, then in zip(t.submissions, t.submissions[1:], strict=False):
            self.after.setdefault(trimmed(before.code), []).append(Move(t.student, t.key, then.code))


class Neighbours:
    """The moves of the training students, to be looked up by program.

    Similarity is that of `graders.compare.edit_similarity` (normalised Indel), over programs without white space at the
    ends of lines. Only programs that something follows are looked at. Of equally similar ones a draw decides that
    depends on the seed and on ``draw`` alone, so that the steps of one rollout tend to follow one student.
    """

    def __init__(self, training: Sequence[Trajectory], seed: int) -> None:
        self._seed = seed
        self._students = {t.student for t in training}
        self._of: dict[str, Moves] = {}
        self._all = Moves()
        self._known: dict[tuple[str, str | None, str], list[Move]] = {}
        for t in training:
            self._of.setdefault(t.assignment, Moves()).add(t)
            self._all.add(t)

    def next_after(self, assignment: str, code: str | None, student: str, draw: str) -> str:
        """What another student than ``student`` handed in next; ``code`` None: first.

        Of the same assignment, where training has any of it that others went on with, else of any. Raises
        SimstudentError when training holds nothing to retrieve.
        """
        given = None if code is None else trimmed(code)
        asks = student if student in self._students else ""  # nobody else has to be left out
        kept = assignment, given, asks
        if kept not in self._known:
            self._known[kept] = self._nearest(*kept)
        return min(self._known[kept], key=lambda m: position(self._seed, "nearest", draw, m.key)).code

    def _nearest(self, assignment: str, code: str | None, student: str) -> list[Move]:
        for moves in (self._of.get(assignment, Moves()), self._all):
            if code is None:
                found = [m for m in moves.first if m.student != student]
            else:
                others = {p: held for p, ms in moves.after.items() if (held := [m for m in ms if m.student != student])}
                found = [m for program in most_similar(code, list(others)) for m in others[program]]
            if found:
                return found
        raise SimstudentError(
            "method 'nearest' needs training students with several submissions, and there are none; leave it out of "
            "rollout.methods"
        )


def most_similar(code: str, programs: Sequence[str]) -> list[str]:
    """The programs nearest to ``code``, all of them where several are equally near."""
    if not programs:
        return []
    from rapidfuzz import process
    from rapidfuzz.distance import Indel

    scores = process.cdist([code], programs, scorer=Indel.normalized_similarity)[0]
    return [programs[n] for n in (scores == scores.max()).nonzero()[0]]
