"""One simulated student: generate, grade, append code and feedback, go on.

``simulate`` is the paper's rollout (Koutcheme et al. 2026, section 5) as a coroutine, so that thousands run at
once over one engine and grading overlaps generation.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from graders import Grade, exception, outcomes
from simstudent.data.records import Assignment, Submission, Trajectory
from simstudent.dialogue.encode import Encoder
from simstudent.dialogue.serialize import (
    GIVE_UP,
    STAGE_HEADERS,
    UNANSWERED,
    Earlier,
    Stage,
    Turn,
    feedback_text,
    opening_after,
    reaction,
    system_prompt,
    time_header,
    turns_of,
)
from simstudent.recipe import DialogueSection
from simstudent.rollout.engine import Engine, EngineError, Sampling
from simstudent.rollout.records import Rollout, Step, Stop

PATIENCE = 3
"""How often a simulated student may talk, to nobody, before it has to hand in a program (``dialogue.talk``)."""


class RolloutError(RuntimeError):
    """The engine or the grader failed, or the prompt cannot be built: no figure may count this rollout."""


@dataclass(frozen=True, slots=True)
class Start:
    """Where a simulation begins: a student's trajectory, its grades, and ``t`` submissions of history.

    ``earlier``: the student's real work on earlier assignments, where the recipe shows it. ``cell``: of the test side,
    in a split by cells. ``stage``: the history is not shown, and submission t + 1 is asked for as one of this stage.
    """

    trajectory: Trajectory
    assignment: Assignment
    grades: tuple[Grade, ...]
    t: int
    sample: int = 0
    earlier: tuple[Earlier, ...] = ()
    cell: str | None = None
    stage: Stage | None = None

    @property
    def key(self) -> str:
        """``student/assignment/t/sample``: the same for every method."""
        return f"{self.trajectory.key}/{self.t}/{self.sample}"


@dataclass(frozen=True, slots=True)
class Reply:
    """A simulated submission. ``grade`` is set only by baselines that assert one without writing a program.

    ``reason``: why the diff in it is no program. ``gives_up`` and ``talks`` mark answers that are no submission.
    """

    code: str | None
    text: str | None = None
    prompt_tokens: int = 0
    reply_tokens: int = 0
    truncated: bool = False
    grade: float | None = None
    reason: str | None = None
    gives_up: bool = False
    talks: bool = False


@dataclass(frozen=True, slots=True)
class Past:
    """What a simulated student can look back on: the dialogue so far, and the last program in it and its time.

    ``header``: what stands before the submission to come.
    """

    turns: tuple[Turn, ...]
    last: Submission | None
    header: str = ""

    @property
    def last_code(self) -> str | None:
        return None if self.last is None else self.last.code


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
    earlier: Mapping[str, tuple[Earlier, ...]] | None = None,
    cells: Mapping[str, str] | None = None,
    stages: bool = False,
) -> list[Start]:
    """Every start of every trajectory: t = first .. T-1, ordered so that starts sharing a history are neighbours.

    ``earlier`` and ``cells`` by the trajectory's key. With ``stages`` instead those of `stages_of`.
    """
    earlier, cells = earlier or {}, cells or {}
    found: list[Start] = []
    for t in trajectories:
        at: dict[int, Stage | None] = dict.fromkeys(range(first, len(t.submissions)))
        for count, stage in (stages_of(len(t.submissions)) if stages else at).items():
            known = earlier.get(t.key, ()), cells.get(t.key), stage
            found += [Start(t, assignments[t.assignment], grades[t.key], count, n, *known) for n in range(samples)]
    return found


def stages_of(length: int) -> dict[int, Stage | None]:
    """The first, the middle and the last submission of so many (0-based); of two no middle, of one the first only."""
    found: dict[int, Stage | None] = {length - 1: "last", (length - 1) // 2: "middle", 0: "first"}
    return {n: found[n] for n in sorted(found)}


async def simulate(
    start: Start, method: str, student: Student, grade: Grader, *, steps: int, look: DialogueSection
) -> Rollout:
    """Up to ``steps`` simulated submissions after the start's history.

    It ends when the real student has no further submission, when a simulated one is fully correct, or when the
    simulated student gives up, which is no submission. Where the real student gave up, the simulated one is asked once
    more whether it does. Failures of engine and grader become the rollout's ``error``; a
    wrong or missing program is just a grade of 0.
    """
    logged = start.trajectory.submissions
    truths = min(steps, len(logged) - start.t)
    gave_up = truths < steps and start.trajectory.outcome == "abandoned" and start.grades[-1].score < 1.0
    past = past_of(start, look)
    done: list[Step] = []
    stop: Stop = "student_done" if truths < steps else "step_limit"
    error = None
    try:
        for k in range(1, truths + 1):
            past = _at(past, start, k, look)
            reply, past, said = await next_reply(student, start, past, k)
            if reply.gives_up:
                stop = "give_up"
                break
            graded = await graded_reply(reply, start.assignment, grade)
            told = told_of(reply, graded, start.assignment, look)
            done.append(replace(_step(k, reply, graded, start, look), said=said, feedback=told))
            if graded.score >= 1.0:
                stop = "solved"
                break
            past = extended(past, reply, graded, told, start.assignment, logged[start.t + k - 1].time, look)
        else:
            if look.give_up and gave_up and (await student(start, replace(past, header=""), truths + 1)).gives_up:
                stop = "give_up"
    except (EngineError, RolloutError) as failure:
        stop, error = "error", f"{type(failure).__name__}: {failure}"
    previous, shown = start.t - 1, start.t > 0 and start.stage is None
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
        previous_code=logged[previous].code if shown else None,
        previous_grade=start.grades[previous].score if shown else None,
        error=error,
        student_gave_up=gave_up,
        cell=start.cell,
    )


async def next_reply(student: Student, start: Start, past: Past, k: int) -> tuple[Reply, Past, tuple[str, ...]]:
    """The next submission, and what was said before it, to nobody. After PATIENCE words they count as a submission."""
    said: list[str] = []
    reply = await student(start, past, k)
    while reply.talks and len(said) < PATIENCE:
        said.append((reply.text or "").strip())
        # The time belongs to the submission: the words come before it.
        past = replace(past, turns=(*past.turns, Turn(said[-1], UNANSWERED, "words")))
        reply = await student(start, past, k)
    return reply, past, tuple(said)


async def graded_reply(reply: Reply, assignment: Assignment, grade: Grader) -> Grade:
    """The grade of a simulated submission. Raises RolloutError when the grader failed."""
    if reply.grade is not None:
        return Grade(reply.grade, "graded")
    graded = await grade(reply.code, assignment)
    if graded.status == "grader_error":
        raise RolloutError(f"the grader failed: {graded.message}")
    return graded


def _step(k: int, reply: Reply, graded: Grade, start: Start, look: DialogueSection) -> Step:
    number = start.t + k - 1
    truth, real = start.grades[number], start.trajectory.submissions[number]
    return Step(
        k=k,
        code=reply.code,
        grade=graded.score,
        status="constant" if reply.grade is not None else "bad_diff" if reply.reason else graded.status,
        tests=outcomes(graded),
        student_code=real.code,
        student_grade=truth.score,
        student_status=truth.status,
        student_tests=outcomes(truth),
        reply=None if reply.code is not None else reply.text,
        prompt_tokens=reply.prompt_tokens,
        reply_tokens=reply.reply_tokens,
        truncated=reply.truncated,
        reason=reply.reason,
        exception=exception(graded) or "",
        student_exception=exception(truth) or "",
        student_feedback=feedback_text(start.assignment, real, truth, look.feedback),
    )


def past_of(start: Start, look: DialogueSection) -> Past:
    """What a simulation looks back on before its first step: the student's own submissions."""
    turns: tuple[Turn, ...] = ()
    last: Submission | None = None
    given = start.trajectory.submissions[: start.t] if start.stage is None else ()
    for submission, grade in zip(given, start.grades, strict=False):
        told = feedback_text(start.assignment, submission, grade, look.feedback)
        turns += turns_of(start.assignment, submission, last, told, look)
        last = submission
    return Past(turns, last)


def _at(past: Past, start: Start, k: int, look: DialogueSection) -> Past:
    """The past before step k, made when the real student made theirs: a simulated submission has no time of its own."""
    time = start.trajectory.submissions[start.t + k - 1].time
    asked = "" if start.stage is None else STAGE_HEADERS[start.stage]
    return replace(past, header=asked + time_header(time, past.last, look))


def told_of(reply: Reply, graded: Grade, assignment: Assignment, look: DialogueSection) -> str | None:
    """The feedback on a simulated submission; None on a grade that was asserted without one."""
    if reply.grade is not None:
        return None
    made = Submission(reply.code or "", grade=graded.score)
    told = feedback_text(assignment, made, graded, look.feedback)
    return f"{_sentence(reply.reason)}\n{told}" if reply.reason and look.feedback == "full" else told


def extended(
    past: Past,
    reply: Reply,
    graded: Grade,
    told: str | None,
    assignment: Assignment,
    time: str | None,
    look: DialogueSection,
) -> Past:
    """The history with a simulated submission made at ``time`` in it, written exactly as a logged one would be."""
    if told is None:  # a grade without a program leaves nothing to look back on
        return past
    if reply.code is None:  # the answer as it is, there being no program in it
        turn = Turn(reply.text or "", reaction(told, look.feedback), "words", past.header)
        # The program to go on from is still the one before; only the clock has moved.
        return Past((*past.turns, turn), None if past.last is None else replace(past.last, time=time))
    made = Submission(reply.code, time=time, grade=graded.score)
    return Past((*past.turns, *turns_of(assignment, made, past.last, told, look)), made)


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


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
    look: DialogueSection,
    token: Callable[[str], int] | None = None,
) -> Student:
    """A simulated student that a model plays: the dialogue so far as a windowed prompt, the answer's code block.

    ``token``: by student, what stands before the prompt where the model knows students (training/students.py).
    """
    system = system_prompt(look)

    async def respond(start: Start, past: Past, k: int) -> Reply:
        first = opening_after(start.assignment, start.earlier)
        ids = encoder.prompt(system, first, past.turns, earlier=start.earlier, header=past.header)
        if ids is None:
            raise RolloutError(too_long(encoder))
        if token is not None:
            ids = (token(start.trajectory.student), *ids)
        done = await engine.generate(ids, sampling, seed=request_seed(seed, start.key, k), adapter=adapter)
        text = encoder.decode(done.ids)
        return read_reply(text, encoder, past, look, tokens=(len(ids), len(done.ids)), truncated=done.truncated)

    return respond


def too_long(encoder: Encoder) -> str:
    """Why there is no prompt."""
    return f"system prompt and assignment do not fit the window of {encoder.window} tokens"


def read_reply(
    text: str, encoder: Encoder, past: Past, look: DialogueSection, *, tokens: tuple[int, int], truncated: bool
) -> Reply:
    """What a model's answer is: a submission, words, or giving up. ``tokens``: of prompt and answer."""
    answer = encoder.read(text, past.last_code)
    words = answer.code is None and not truncated and "```" not in text
    gives_up = look.give_up and words and text.strip() == GIVE_UP
    return Reply(
        answer.code,
        text,
        *tokens,
        truncated,
        reason=answer.reason,
        gives_up=gives_up,
        talks=look.talk and words and not gives_up and bool(text.strip()),
    )
