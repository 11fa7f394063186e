"""From a trajectory to a dialogue, and from a model's answer back to a program.

A dialogue is: system prompt, assignment (user), then for each submission the program in a fence (assistant) and
the autograder's feedback (user). Training and rollout both build their turns here and nowhere else
(Koutcheme et al. 2026, section 3).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from graders import Grade
from graders.extract import extract_code as extract_code
from graders.feedback import feedback as graders_feedback
from simstudent.data.records import Assignment, Submission, Trajectory
from simstudent.errors import SimstudentError

FeedbackLevel = Literal["full", "summary", "none"]

ROLE = (
    "You are a student in an introductory programming course, working on one assignment. You write programs the way "
    "such a student does: step by step, with the mistakes a learner makes. "
)
SYSTEM: dict[FeedbackLevel, str] = {
    "full": ROLE + "After each submission the autograder answers with its test results. "
    "Answer with your next submission: the whole program in one code block, nothing else.",
    "summary": ROLE + "After each submission the autograder answers with the number of tests passed. "
    "Answer with your next submission: the whole program in one code block, nothing else.",
    "none": ROLE + "Answer with your next submission: the whole program in one code block, nothing else.",
}
"""Default system prompts. The one for ``none`` promises no feedback, since none ever comes."""

RECEIVED = "Submission received."
"""The user turn after a submission at feedback level none. It says nothing about the program; it is there
because many chat templates refuse two assistant turns in a row."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One submission in a dialogue: the assistant's text and the user's answer to it (None: not answered yet)."""

    answer: str
    reaction: str | None


@dataclass(frozen=True, slots=True)
class Dialogue:
    """``opening`` is the assignment as the first user message. ``turns`` are the submissions, oldest first."""

    key: str
    system: str
    opening: str
    turns: tuple[Turn, ...]

    def messages(self) -> list[dict[str, str]]:
        """The dialogue as chat messages (role, content)."""
        found = [{"role": "system", "content": self.system}] if self.system else []
        found.append({"role": "user", "content": self.opening})
        for turn in self.turns:
            found.append({"role": "assistant", "content": turn.answer})
            if turn.reaction is not None:
                found.append({"role": "user", "content": turn.reaction})
        return found


def opening(assignment: Assignment) -> str:
    """The first user message: the statement, and the name of the function to write where there is one."""
    text = assignment.statement.strip()
    problem = assignment.problem
    if problem is not None and problem.entry is not None and not re.search(rf"\b{re.escape(problem.entry)}\b", text):
        text += f"\n\nYour program must define a function named {problem.entry}."
    return text


def fence(code: str, language: str = "python") -> str:
    """A program in a Markdown code block; ``extract_code`` gives it back exactly."""
    longest = max((len(run) for run in re.findall(r"`+", code)), default=0)
    ticks = "`" * max(3, longest + 1)
    return f"{ticks}{language}\n{code}\n{ticks}"


def reaction(feedback: str, level: FeedbackLevel) -> str:
    """The user turn after a submission: the autograder's feedback at this level, or the neutral line."""
    return RECEIVED if level == "none" else feedback


def system_prompt(level: FeedbackLevel, custom: str | None) -> str:
    """The recipe's own system prompt, or the default that fits the feedback level."""
    return SYSTEM[level] if custom is None else custom


def dialogue(
    key: str,
    assignment: Assignment,
    submissions: Sequence[Submission],
    feedback: Sequence[str],
    *,
    level: FeedbackLevel,
    system: str | None = None,
) -> Dialogue:
    """The dialogue of a whole trajectory. ``feedback`` is the autograder's text for each submission, at ``level``.

    The last submission is left unanswered: nothing follows it that could be learnt.
    """
    turns = [
        Turn(fence(s.code, assignment.language), reaction(text, level))
        for s, text in zip(submissions, feedback, strict=True)
    ]
    if turns:
        turns[-1] = Turn(turns[-1].answer, None)
    return Dialogue(key, system_prompt(level, system), opening(assignment), tuple(turns))


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
    *,
    level: FeedbackLevel,
    system: str | None = None,
) -> list[Dialogue]:
    """The trajectories as dialogues; ``grades`` holds those of each trajectory's submissions by its key."""
    found = []
    for t in trajectories:
        a = assignments[t.assignment]
        texts = [feedback_text(a, s, g, level) for s, g in zip(t.submissions, grades[t.key], strict=True)]
        found.append(dialogue(t.key, a, t.submissions, texts, level=level, system=system))
    return found
