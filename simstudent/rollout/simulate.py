"""One simulated student: generate, grade, append code and feedback, go on.

``simulate`` is the paper's rollout (Koutcheme et al. 2026, section 5) as a coroutine, so that thousands run at
once over one engine and grading overlaps generation.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from graders import Grade, outcomes
from simstudent.data.records import Assignment, Submission, Trajectory
from simstudent.dialogue.encode import Encoder
from simstudent.dialogue.serialize import (
    FeedbackLevel,
    Turn,
    extract_code,
    feedback_text,
    fence,
    opening,
    reaction,
    system_prompt,
)
from simstudent.rollout.engine import Engine, EngineError, Sampling
from simstudent.rollout.records import Rollout, Step, Stop


class RolloutError(RuntimeError):
    """The engine or the grader failed, or the prompt cannot be built: no figure may count this rollout."""


@dataclass(frozen=True, slots=True)
class Start:
    """Where a simulation begins: a student's trajectory, its grades, and ``t`` submissions of history."""

    trajectory: Trajectory
    assignment: Assignment
    grades: tuple[Grade, ...]
    t: int
    sample: int = 0

    @property
    def key(self) -> str:
        """``student/assignment/t/sample``: the same for every method."""
        return f"{self.trajectory.key}/{self.t}/{self.sample}"


@dataclass(frozen=True, slots=True)
class Reply:
    """A simulated submission. ``grade`` is set only by baselines that assert one without writing a program."""

    code: str | None
    text: str | None = None
    prompt_tokens: int = 0
    reply_tokens: int = 0
    truncated: bool = False
    grade: float | None = None


@dataclass(frozen=True, slots=True)
class Past:
    """What a simulated student can look back on: the dialogue so far and the last program in it."""

    turns: tuple[Turn, ...]
    last_code: str | None


Student = Callable[[Start, Past, int], Awaitable[Reply]]
"""(start, past, step k) -> the next submission. A model behind an engine, or a baseline."""

Grader = Callable[[str | None, Assignment], Awaitable[Grade]]


def starts(
    trajectories: Sequence[Trajectory],
    assignments: dict[str, Assignment],
    grades: dict[str, tuple[Grade, ...]],
    *,
    first: int,
    samples: int = 1,
) -> list[Start]:
    """Every start of every trajectory: t = first .. T-1, ordered so that starts sharing a history are neighbours."""
    return [
        Start(t, assignments[t.assignment], grades[t.key], count, sample)
        for t in trajectories
        for count in range(first, len(t.submissions))
        for sample in range(samples)
    ]


async def simulate(
    start: Start, method: str, student: Student, grade: Grader, *, steps: int, level: FeedbackLevel
) -> Rollout:
    """Up to ``steps`` simulated submissions after the start's history.

    It ends when the real student has no further submission or when a simulated one is fully correct. Failures of
    engine and grader become the rollout's ``error``; a wrong or missing program is just a grade of 0.
    """
    logged = start.trajectory.submissions
    truths = min(steps, len(logged) - start.t)
    past = _past(start, level)
    done: list[Step] = []
    stop: Stop = "student_done" if truths < steps else "step_limit"
    error = None
    try:
        for k in range(1, truths + 1):
            reply = await student(start, past, k)
            graded = await _graded(reply, start.assignment, grade)
            done.append(_step(k, reply, graded, start))
            if graded.score >= 1.0:
                stop = "solved"
                break
            past = _extended(past, reply, graded, start.assignment, level)
    except (EngineError, RolloutError) as failure:
        stop, error = "error", f"{type(failure).__name__}: {failure}"
    previous = start.t - 1
    return Rollout(
        key=start.key,
        method=method,
        student=start.trajectory.student,
        assignment=start.trajectory.assignment,
        start=start.t,
        sample=start.sample,
        truths=truths,
        steps=tuple(done),
        stop=stop,
        solved=start.grades[-1].score >= 1.0,
        previous_code=logged[previous].code if start.t else None,
        previous_grade=start.grades[previous].score if start.t else None,
        error=error,
    )


async def _graded(reply: Reply, assignment: Assignment, grade: Grader) -> Grade:
    if reply.grade is not None:
        return Grade(reply.grade, "graded")
    graded = await grade(reply.code, assignment)
    if graded.status == "grader_error":
        raise RolloutError(f"the grader failed: {graded.message}")
    return graded


def _step(k: int, reply: Reply, graded: Grade, start: Start) -> Step:
    number = start.t + k - 1
    truth = start.grades[number]
    return Step(
        k=k,
        code=reply.code,
        grade=graded.score,
        status="constant" if reply.grade is not None else graded.status,
        tests=outcomes(graded),
        student_code=start.trajectory.submissions[number].code,
        student_grade=truth.score,
        student_status=truth.status,
        student_tests=outcomes(truth),
        reply=None if reply.code is not None else reply.text,
        prompt_tokens=reply.prompt_tokens,
        reply_tokens=reply.reply_tokens,
        truncated=reply.truncated,
    )


def _past(start: Start, level: FeedbackLevel) -> Past:
    assignment = start.assignment
    logged = start.trajectory.submissions[: start.t]
    turns = tuple(
        Turn(fence(s.code, assignment.language), reaction(feedback_text(assignment, s, g, level), level))
        for s, g in zip(logged, start.grades, strict=False)
    )
    return Past(turns, logged[-1].code if logged else None)


def _extended(past: Past, reply: Reply, graded: Grade, assignment: Assignment, level: FeedbackLevel) -> Past:
    """The history with a simulated submission in it, written exactly as a logged one would be."""
    if reply.grade is not None:  # a grade without a program leaves nothing to look back on
        return past
    text = reply.text or "" if reply.code is None else fence(reply.code, assignment.language)
    told = feedback_text(assignment, Submission(reply.code or "", grade=graded.score), graded, level)
    turn = Turn(text, reaction(told, level))
    return Past((*past.turns, turn), past.last_code if reply.code is None else reply.code)


def request_seed(seed: int, key: str, step: int) -> int:
    """The sampling seed of one request: the same however requests are scheduled."""
    digest = hashlib.sha256(f"{seed}\x1f{key}\x1f{step}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def language_model(
    engine: Engine,
    encoder: Encoder,
    sampling: Sampling,
    *,
    adapter: str | None,
    seed: int,
    level: FeedbackLevel,
    system: str | None,
) -> Student:
    """A simulated student that a model plays: the dialogue so far as a windowed prompt, the answer's code block."""
    prompt_text = system_prompt(level, system)

    async def respond(start: Start, past: Past, k: int) -> Reply:
        ids = encoder.prompt(prompt_text, opening(start.assignment), past.turns)
        if ids is None:
            raise RolloutError(f"system prompt and assignment do not fit the window of {encoder.window} tokens")
        done = await engine.generate(ids, sampling, seed=request_seed(seed, start.key, k), adapter=adapter)
        text = encoder.decode(done.ids)
        return Reply(extract_code(text), text, len(ids), len(done.ids), done.truncated)

    return respond
