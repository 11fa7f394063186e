"""A student's work on an assignment with nobody to be compared with: from its text alone, or from where it stands.

The coroutine is the little sister of `simulate`: generate, grade, feed back, until the program is right, the student
gives up, or its patience ends.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from graders import exception, outcomes
from simstudent.dialogue.serialize import time_header
from simstudent.recipe import DialogueSection
from simstudent.rollout.engine import EngineError
from simstudent.rollout.simulate import (
    Grader,
    RolloutError,
    Start,
    Student,
    extended,
    graded_reply,
    next_reply,
    past_of,
    told_of,
)

End = Literal["solved", "gave_up", "patience", "error"]
"""``gave_up``: the student said so; ``patience``: it had made as many attempts as were drawn for it."""

Clock = Callable[[int], str | None]
"""Attempt (1-based) -> when it is made, in ISO 8601; None: at no known time."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """A submission of an artificial student. ``code``: the program or, where the answer held none, the answer itself.

    ``status``, ``tests`` and ``exception`` as in a rollout's `Step`. ``feedback``: what it was told.
    """

    code: str
    grade: float
    status: str
    tests: str
    feedback: str | None
    time: str | None = None
    exception: str = ""
    reason: str | None = None
    said: tuple[str, ...] = ()
    truncated: bool = False
    prompt_tokens: int = 0
    reply_tokens: int = 0

    def to_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__} | {"said": list(self.said)}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Attempt:
        return cls(**{**raw, "said": tuple(raw["said"])})


@dataclass(frozen=True, slots=True)
class Work:
    """All that an artificial student did on an assignment; ``most``: the attempts it had patience for.

    ``error``: how the engine or the grader failed; then it says nothing about the student and is done again.
    """

    student: str
    assignment: str
    attempts: tuple[Attempt, ...]
    end: End
    most: int
    error: str | None = None

    @property
    def key(self) -> str:
        """``student/assignment``."""
        return f"{self.student}/{self.assignment}"

    def to_dict(self) -> dict[str, Any]:
        raw = {name: getattr(self, name) for name in self.__slots__}
        return {"key": self.key, **raw, "attempts": [a.to_dict() for a in self.attempts]}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Work:
        rest = {name: value for name, value in raw.items() if name != "key"}
        return cls(**{**rest, "attempts": tuple(Attempt.from_dict(a) for a in raw["attempts"])})


async def work_through(
    start: Start, student: Student, grade: Grader, *, most: int, clock: Clock, look: DialogueSection
) -> Work:
    """Up to ``most`` attempts at a start's assignment, after its history. Failures become its ``error``."""
    past, done = past_of(start, look), list[Attempt]()
    end: End = "patience"
    error = None
    try:
        for k in range(1, most + 1):
            time = clock(k)
            past = replace(past, header=time_header(time, past.last, look))
            reply, past, said = await next_reply(student, start, past, k)
            if reply.gives_up:
                end = "gave_up"
                break
            graded = await graded_reply(reply, start.assignment, grade)
            told = told_of(reply, graded, start.assignment, look)
            done.append(
                Attempt(
                    code=reply.code if reply.code is not None else reply.text or "",
                    grade=graded.score,
                    status="bad_diff" if reply.reason else graded.status,
                    tests=outcomes(graded),
                    feedback=told,
                    time=time,
                    exception=exception(graded) or "",
                    reason=reply.reason,
                    said=said,
                    truncated=reply.truncated,
                    prompt_tokens=reply.prompt_tokens,
                    reply_tokens=reply.reply_tokens,
                )
            )
            if graded.score >= 1.0:
                end = "solved"
                break
            past = extended(past, reply, graded, told, start.assignment, time, look)
    except (EngineError, RolloutError) as failure:
        end, error = "error", f"{type(failure).__name__}: {failure}"
    return Work(start.trajectory.student, start.assignment.id, tuple(done), end, most, error)
