"""The records that every part of the toolkit exchanges: what students submitted, to what, in what order.

Plain frozen dataclasses; each has one ``to_dict`` and one ``from_dict``, and the dictionaries are JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from graders import Problem

Outcome = Literal["solved", "abandoned", "unknown"]
Kind = Literal["submission", "run", "hint"]
"""What made a state of a program known: ``submission``, handed in; ``run``, run by the student alone (a local run, a
compilation, a save); ``hint``, the program at the moment when the student asked for help."""


@dataclass(frozen=True, slots=True)
class Talk:
    """Something said between two submissions: by the ``student``, or by the ``tutor`` (a person, a hint system)."""

    role: Literal["student", "tutor"]
    text: str

    def to_dict(self) -> dict[str, Any]:
        return {"role": self.role, "text": self.text}


@dataclass(frozen=True, slots=True)
class Submission:
    """One program that a student handed in, or ran (``kind``).

    ``code`` has ``\\n`` line ends only. ``time`` is ISO 8601 as logged, or None. ``grade`` is in [0, 1];
    None means not graded. ``feedback`` is the text the student saw at the log's own level, if it was logged.
    ``talk`` was said after it and before the next. ``more`` holds what else the log's row says, columns unknown to the
    loader included, as JSON values.
    """

    code: str
    time: str | None = None
    grade: float | None = None
    feedback: str | None = None
    kind: Kind = "submission"
    talk: tuple[Talk, ...] = ()
    more: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def to_dict(self) -> dict[str, Any]:
        raw: dict[str, Any] = {"code": self.code, "time": self.time, "grade": self.grade, "feedback": self.feedback}
        if self.kind != "submission":
            raw["kind"] = self.kind
        if self.talk:
            raw["talk"] = [t.to_dict() for t in self.talk]
        if self.more:
            raw["more"] = dict(self.more)
        return raw

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Submission:
        return cls(
            raw["code"],
            raw.get("time"),
            raw.get("grade"),
            raw.get("feedback"),
            raw.get("kind", "submission"),
            tuple(Talk(t["role"], t["text"]) for t in raw.get("talk", ())),
            raw.get("more", {}),
        )


@dataclass(frozen=True, slots=True)
class Assignment:
    """A task given to students: its statement and, where there is one, the problem the graders run."""

    id: str
    statement: str
    language: str = "python"
    problem: Problem | None = None

    def to_dict(self) -> dict[str, Any]:
        problem = None if self.problem is None else self.problem.to_dict()
        return {"id": self.id, "statement": self.statement, "language": self.language, "problem": problem}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Assignment:
        problem = raw.get("problem")
        return cls(
            raw["id"],
            raw["statement"],
            raw.get("language", "python"),
            None if problem is None else Problem.from_dict(problem),
        )


@dataclass(frozen=True, slots=True)
class Trajectory:
    """One student's submissions to one assignment, oldest first (never empty).

    ``outcome``: ``solved`` when the last grade is full, ``abandoned`` when it is not, ``unknown`` when the last
    submission has no grade. ``source`` names where it was read from.
    """

    student: str
    assignment: str
    submissions: tuple[Submission, ...]
    outcome: Outcome = "unknown"
    source: str = ""

    @property
    def key(self) -> str:
        """``student/assignment``: unique within a corpus."""
        return f"{self.student}/{self.assignment}"

    def to_dict(self) -> dict[str, Any]:
        return {
            "student": self.student,
            "assignment": self.assignment,
            "submissions": [s.to_dict() for s in self.submissions],
            "outcome": self.outcome,
            "source": self.source,
        }

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Trajectory:
        return cls(
            raw["student"],
            raw["assignment"],
            tuple(Submission.from_dict(s) for s in raw["submissions"]),
            raw.get("outcome", "unknown"),
            raw.get("source", ""),
        )


@dataclass(frozen=True, slots=True)
class Corpus:
    """Everything one source yielded: assignments by id, trajectories in a stable order."""

    assignments: Mapping[str, Assignment]
    trajectories: tuple[Trajectory, ...]

    @property
    def students(self) -> tuple[str, ...]:
        """Distinct students, sorted."""
        return tuple(sorted({t.student for t in self.trajectories}))


def outcome_of(submissions: tuple[Submission, ...]) -> Outcome:
    """The outcome that the last grade of a trajectory implies."""
    last = submissions[-1].grade
    if last is None:
        return "unknown"
    return "solved" if last >= 1.0 else "abandoned"
