"""What a rollout writes down: one ``Rollout`` a line of ``<method>.jsonl``, one ``Step`` per simulated submission."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

Record = TypeVar("Record", "Step", "Rollout")
Stop = Literal["student_done", "solved", "step_limit", "give_up", "error"]
"""``give_up``: the simulated student said so in place of a further submission."""


@dataclass(frozen=True, slots=True)
class Step:
    """Simulated submission ``k`` (1-based) after a start, beside what the student really submitted then.

    ``grade`` is the simulated submission's score in [0, 1] and ``status`` its ``graders`` status. ``code`` is
    None when the answer held no program (status ``no_code``, grade 0), when it held a diff that does not fit the last
    program (``bad_diff``, grade 0; ``reason`` says why) or when the method asserts a grade without writing one (the
    constant baselines: status ``constant``). ``tests`` and ``student_tests`` are the per-test outcomes as a string, one
    character a test (``graders.outcomes``). Tokens count prompt and answer. ``said``: words that came before it.
    ``exception`` and ``student_exception``: the class of the first exception (``graders.exception``); "" where there
    was none, None in a record that does not tell. ``feedback`` and ``student_feedback``: what a student is told about
    the two submissions at the recipe's feedback level (None: an older record, or a grade without a program).
    """

    k: int
    code: str | None
    grade: float
    status: str
    tests: str
    student_code: str
    student_grade: float
    student_status: str
    student_tests: str
    reply: str | None = None
    prompt_tokens: int = 0
    reply_tokens: int = 0
    truncated: bool = False
    reason: str | None = None
    said: tuple[str, ...] = ()
    exception: str | None = None
    student_exception: str | None = None
    feedback: str | None = None
    student_feedback: str | None = None

    def to_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__} | {"said": list(self.said)}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Step:
        once = {name: _once(raw[name]) for name in ("code", "student_code")}
        return _built(cls, {**raw, **once, "said": tuple(raw.get("said", ()))})


@dataclass(frozen=True, slots=True)
class Rollout:
    """One simulation of one student from one start.

    ``start`` is t: the number of the student's own submissions that were given as history. ``truths`` is the
    number of steps for which the student has a submission, min(K, T - t): the denominator of coverage.
    ``steps`` holds the covered ones, in order from k = 1; steps ``len(steps)+1 .. truths`` are uncovered (the
    simulated student was done, or gave up, before the real one). ``stop`` says why it ended. When the engine or the
    grader failed (never the simulated student), ``error`` says how, ``stop`` is ``error``, and the rollout is left
    out of every figure and counted.
    ``student_gave_up``: whether within the steps the *student* stopped for good without full marks (None: an older
    record, which does not tell). ``solved`` is whether the *student* ended this trajectory with full marks;
    ``previous_code`` is submission t. ``cell``: whether student and assignment occur in training, in a split by cells.
    """

    key: str
    method: str
    student: str
    assignment: str
    start: int
    sample: int
    truths: int
    steps: tuple[Step, ...]
    stop: Stop
    solved: bool
    previous_code: str | None
    previous_grade: float | None
    error: str | None = None
    student_gave_up: bool | None = None
    cell: str | None = None

    def to_dict(self) -> dict[str, Any]:
        raw = {name: getattr(self, name) for name in self.__slots__}
        return raw | {"steps": [s.to_dict() for s in self.steps]}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Rollout:
        steps = tuple([Step.from_dict(s) for s in raw["steps"]])
        return _built(cls, {**raw, "steps": steps, "previous_code": _once(raw["previous_code"])})


def _once(text: str | None) -> str | None:
    """An equal text that is held already: the same programs come again in every start, sample and method."""
    return None if text is None else sys.intern(text)


def _built(record: type[Record], values: Mapping[str, Any]) -> Record:
    """A record of its fields. Where all stand in their order, as ``to_dict`` writes them, without looking for names:
    that takes half the time of reading.
    """
    return record(*values.values()) if (*values,) == record.__slots__ else record(**values)
