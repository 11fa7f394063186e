"""From a trajectory to a dialogue.

A dialogue is: system prompt, assignment (user), then for each submission the program (assistant) and the
autograder's feedback (user). Training and rollout both build their turns here and nowhere else
(Koutcheme et al. 2026, section 3). Options add to it: diffs, times, talk, giving up, earlier assignments.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, Literal

from graders import Grade
from graders.extract import extract_block
from graders.extract import extract_code as extract_code
from graders.feedback import feedback as graders_feedback
from simstudent.data.pieces import instant
from simstudent.data.records import Assignment, Submission, Talk, Trajectory
from simstudent.dialogue.edits import CodeFormat, program_text
from simstudent.dialogue.edits import fence as fence
from simstudent.errors import SimstudentError

if TYPE_CHECKING:
    from simstudent.recipe import DialogueSection

FeedbackLevel = Literal["full", "summary", "none"]

ROLE = (
    "You are a student in an introductory programming course, working on one assignment. You write programs the way "
    "such a student does: step by step, with the mistakes a learner makes. "
)
PROMISES: dict[FeedbackLevel, str] = {
    "full": "After each submission the autograder answers with its test results. ",
    "summary": "After each submission the autograder answers with the number of tests passed. ",
    "none": "",
}
"""What the default system prompt says of feedback. At ``none`` it promises none, since none ever comes."""

RECEIVED = "Submission received."
"""The user turn after a submission at feedback level none. It says nothing about the program; it is there
because many chat templates refuse two assistant turns in a row."""

GIVE_UP = "I give up."
HELP = "Could I have a hint?"
"""What a student writes under the program when asking for a hint; logs tell only that it was asked for."""
UNANSWERED = "(No answer.)"
"""The user turn after words or a request that nobody answered, or whose answer was not logged."""

Kind = Literal["program", "hint", "words", "give_up", "end"]


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of the student, and the user's answer to it (None: not answered yet).

    ``kind``: a ``program``, handed in or run; a program with a request for a ``hint``; ``words``; ``give_up``; or, of a
    trace, its ``end``.
    ``header`` stands before it, at the end of the user's message. ``whole`` is the answer where the program before it
    is not in view, if that makes a difference (the answer is a diff).
    """

    answer: str
    reaction: str | None
    kind: Kind = "program"
    header: str = ""
    whole: str | None = None

    @property
    def has_program(self) -> bool:
        return self.kind in ("program", "hint")

    @property
    def texts(self) -> tuple[str, ...]:
        """What is written in it, each tokenised by itself."""
        return tuple(text for text in (self.header, self.answer, self.whole, self.reaction) if text)


@dataclass(frozen=True, slots=True)
class Earlier:
    """Work on an earlier assignment: its statement, then each program with its feedback, oldest first."""

    title: str
    states: tuple[str, ...]

    @property
    def texts(self) -> tuple[str, ...]:
        return (self.title, *self.states)


@dataclass(frozen=True, slots=True)
class Dialogue:
    """``opening`` is the assignment as the first user message, after ``earlier`` assignments (oldest first).

    ``turns`` are the student's, oldest first.
    """

    key: str
    system: str
    opening: str
    turns: tuple[Turn, ...]
    earlier: tuple[Earlier, ...] = ()
    code: CodeFormat = "whole"

    def turn_of(self, number: int) -> int:
        """Where in ``turns`` submission ``number`` (0-based) is: words have turns of their own."""
        return [n for n, turn in enumerate(self.turns) if turn.has_program][number]

    def handed_in(self, number: int, *, after: int) -> Turn:
        """The turn that hands in submission ``number`` as it would follow the first ``after`` submissions."""
        turn = self.turns[self.turn_of(number)]
        if self.code == "whole" or number == after:
            return turn
        block = extract_block(self._whole(number))
        before = extract_block(self._whole(after - 1)) if after else None
        assert block is not None
        language, code = block
        answer = program_text(code, None if before is None else before[1], language, self.code)
        whole = fence(code, language)
        return replace(turn, answer=answer, whole=whole if whole != answer else None, kind="program")

    def _whole(self, number: int) -> str:
        turn = self.turns[self.turn_of(number)]
        return turn.whole or turn.answer

    def messages(self, stop: int | None = None) -> list[dict[str, str]]:
        """The dialogue as chat messages (role, content), uncut; those before the answer of turn ``stop`` only."""
        found = [{"role": "system", "content": self.system}] if self.system else []
        said = "".join([*(text for work in self.earlier for text in (work.title, *work.states)), self.opening])
        for number, turn in enumerate(self.turns):
            found.append({"role": "user", "content": said + turn.header})
            if number == stop:
                return found
            found.append({"role": "assistant", "content": turn.answer})
            if turn.reaction is None:
                return found
            said = turn.reaction
        return [*found, {"role": "user", "content": said}]


def opening(assignment: Assignment) -> str:
    """The first user message: the statement, and the name of the function to write where there is one."""
    text = assignment.statement.strip()
    problem = assignment.problem
    if problem is not None and problem.entry is not None and not re.search(rf"\b{re.escape(problem.entry)}\b", text):
        text += f"\n\nYour program must define a function named {problem.entry}."
    return text


def opening_after(assignment: Assignment, earlier: Sequence[Earlier]) -> str:
    """The first user message, marked off where earlier assignments stand before it."""
    return f"This assignment:\n{opening(assignment)}" if earlier else opening(assignment)


def reaction(feedback: str, level: FeedbackLevel) -> str:
    """The user turn after a submission: the autograder's feedback at this level, or the neutral line."""
    return RECEIVED if level == "none" else feedback


def system_prompt(look: DialogueSection) -> str:
    """The recipe's own system prompt, or the default that fits its other options."""
    if look.system is not None:
        return look.system
    program = "the whole program in one code block"
    if look.code == "diff":
        program += ", or a small change to the last one as a unified diff in a diff block"
    text = f"{ROLE}{PROMISES[look.feedback]}Answer with your next submission: {program}, nothing else."
    if look.talk:
        text += f' You may also talk to your tutor, or add "{HELP}" to a program.'
    if look.give_up:
        text += f' When you give up, answer "{GIVE_UP}"'
    return text


def time_header(time: str | None, previous: Submission | None, look: DialogueSection) -> str:
    """What stands before a submission made at ``time`` after ``previous`` (None: it is the first).

    ``elapsed``: nothing before the first; a clock that went back counts as no time. Raises SimstudentError where the
    time is needed and not known.
    """
    if look.time_header == "none" or (look.time_header == "elapsed" and previous is None):
        return ""
    before = time if previous is None else previous.time
    if time is None or before is None:
        raise SimstudentError("a submission has no time; set dialogue.time_header: none")
    if look.time_header == "absolute":
        return f"\n\n[{time[:19].replace('T', ' ')}]"
    return elapsed_header(instant(time) - instant(before))


Stage = Literal["first", "middle", "last"]
STAGE_HEADERS: dict[Stage, str] = {
    "first": "\n\n[Your first submission to this assignment.]",
    "middle": "\n\n[A submission of yours from the middle of your work on this assignment.]",
    "last": "\n\n[Your last submission to this assignment.]",
}
"""What asks for a program of a stage where no history is shown. No training has such lines: they work, if they do,
because the model can read."""


def elapsed_header(seconds: float) -> str:
    """The header of a submission made so many seconds after the one before: whole seconds, below ten in tenths."""
    seconds = max(0.0, seconds)
    return f"\n\n[{seconds:.1f} s later]" if seconds < 9.95 else f"\n\n[{seconds:.0f} s later]"


def turns_of(
    assignment: Assignment, submission: Submission, previous: Submission | None, told: str, look: DialogueSection
) -> tuple[Turn, ...]:
    """One submission, logged or simulated, as a dialogue shows it after ``previous``: the program, then what was said.

    ``told`` is the autograder's text at the recipe's level. A request for a hint is answered by the tutor alone.
    Words between two programs are turns of their own.
    """
    before = None if previous is None else previous.code
    answer = program_text(submission.code, before, assignment.language, look.code)
    header = time_header(submission.time, previous, look)
    whole = fence(submission.code, assignment.language)
    asks = look.talk and submission.kind == "hint"
    said = _said(submission.talk) if look.talk else []
    lead = said.pop(0)[1] if said and said[0][0] == "tutor" else ""
    if asks:
        answer, whole, text = f"{answer}\n\n{HELP}", f"{whole}\n\n{HELP}", lead or UNANSWERED
    else:
        text = "\n\n".join(filter(None, [reaction(told, look.feedback), lead]))
    turns = [Turn(answer, text, "hint" if asks else "program", header, whole if whole != answer else None)]
    for number, (role, words) in enumerate(said):
        if role == "student":
            answered = said[number + 1][1] if number + 1 < len(said) else UNANSWERED
            turns.append(Turn(words, answered, "words"))
    return tuple(turns)


def _said(talk: Sequence[Talk]) -> list[tuple[str, str]]:
    """Who said what, each in one piece; a tutor's words are marked, since the autograder speaks in the same role."""
    found = []
    for role, group in groupby((t for t in talk if t.text.strip()), key=lambda t: t.role):
        text = "\n\n".join(t.text.strip() for t in group)
        found.append((str(role), f"Tutor: {text}" if role == "tutor" else text))
    return found


def dialogue(
    trajectory: Trajectory,
    assignment: Assignment,
    feedback: Sequence[str],
    look: DialogueSection,
    *,
    solved: bool = False,
    earlier: tuple[Earlier, ...] = (),
) -> Dialogue:
    """The dialogue of a whole trajectory. ``feedback`` is the autograder's text for each submission.

    The last turn is left unanswered: nothing follows it that could be learnt. With ``give_up`` it is the student's
    giving up, where the log says that the assignment was abandoned and the graders do not say that it is ``solved``.
    """
    turns: list[Turn] = []
    previous: Submission | None = None
    for submission, text in zip(trajectory.submissions, feedback, strict=True):
        turns += turns_of(assignment, submission, previous, text, look)
        previous = submission
    if look.give_up and trajectory.outcome == "abandoned" and not solved:
        turns.append(Turn(GIVE_UP, None, "give_up"))
    if turns:
        turns[-1] = replace(turns[-1], reaction=None)
    first = opening_after(assignment, earlier)
    return Dialogue(trajectory.key, system_prompt(look), first, tuple(turns), earlier, look.code)


def feedback_text(assignment: Assignment, submission: Submission, grade: Grade, level: FeedbackLevel) -> str:
    """What the student read: the graders' feedback; without tests the logged text or grade."""
    if assignment.problem is not None:
        return graders_feedback(grade, assignment.problem, level)
    if level == "full" and submission.feedback:
        return submission.feedback
    if level == "none":
        return ""
    if submission.grade is None:
        raise SimstudentError(
            f"assignment {assignment.id} has neither tests nor a logged grade; set dialogue.feedback: none"
        )
    return f"Grade: {round(100 * submission.grade)}/100."


def dialogues(
    trajectories: Sequence[Trajectory],
    assignments: Mapping[str, Assignment],
    grades: Mapping[str, Sequence[Grade]],
    look: DialogueSection,
    earlier: Mapping[str, tuple[Earlier, ...]] | None = None,
) -> list[Dialogue]:
    """The trajectories as dialogues; ``grades`` holds those of each trajectory's submissions by its key.

    ``earlier`` is the students' earlier work by the same keys (``simstudent.dialogue.earlier.earlier_work``).
    """
    if look.format == "trace":
        from simstudent.dialogue.traces import trace

        return [trace(t, assignments[t.assignment]) for t in trajectories]
    found = []
    for t in trajectories:
        a, graded = assignments[t.assignment], grades[t.key]
        texts = [feedback_text(a, s, g, look.feedback) for s, g in zip(t.submissions, graded, strict=True)]
        solved = graded[-1].score >= 1.0
        work = (earlier or {}).get(t.key, ())
        try:
            found.append(dialogue(t, a, texts, look, solved=solved, earlier=work))
        except SimstudentError as error:
            raise SimstudentError(f"{t.key}: {error}") from None
    return found
