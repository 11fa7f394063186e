"""From a trajectory to a trace: plain text for language models without roles (Ross et al. 2025).

    star
    CODE 1 (2020-11-18 04:07:48):
    pen red
    CODE 2 (2020-11-18 04:08:24):
    pen red
    fd 100
    <end of text>

A trace is a `Dialogue` with a template of its own: the title is its opening, each block a turn with its header, the
end a turn that is nothing but the end-of-text token. So the one encoder and the one window serve both. What differs:
headers and title are learnt too, and nobody answers a block. `simstudent.data.trace_text` reads traces back.
"""

from __future__ import annotations

import datetime
from typing import Any

from simstudent.data.records import Assignment, Submission, Trajectory
from simstudent.dialogue.serialize import Dialogue, Turn
from simstudent.dialogue.template import ChatTemplate, adds_bos
from simstudent.errors import SimstudentError

ORIGIN = "simstudent trace"
"""What a trace's template calls itself."""


def trace_template(tokenizer: Any) -> ChatTemplate:
    """The text around the blocks of a trace: a newline after each.

    Raises SimstudentError when the tokenizer has no end-of-text token.
    """
    if tokenizer.eos_token is None:
        raise SimstudentError("the tokenizer has no end-of-text token, so no trace could ever end")
    return ChatTemplate(
        head=(tokenizer.bos_token or "") if adds_bos(tokenizer) else "",
        after_system="",
        before_answer="",
        end="\n",
        after_answer="",
        system_role=True,
        origin=ORIGIN,
    )


def title_line(assignment: Assignment) -> str:
    """What a trace begins with: the title or, where an assignment has tests, its statement, on one line."""
    told = assignment.id if assignment.problem is None else assignment.statement
    return " ".join(told.split()) + "\n"


def block_header(number: int, time: str) -> str:
    """The line before the state with this number (from 1); ``time`` in ISO 8601, written to the second."""
    return f"CODE {number} ({datetime.datetime.fromisoformat(time):%Y-%m-%d %H:%M:%S}):\n"


def block(number: int, submission: Submission) -> Turn:
    """A state of a program as a turn. Raises SimstudentError when it has no time."""
    if submission.time is None:
        raise SimstudentError(
            f"state {number} has no time, and a trace needs one for each (dialogue.format: chat does not)"
        )
    return Turn(submission.code.removesuffix("\n"), None, header=block_header(number, submission.time))


def trace(t: Trajectory, assignment: Assignment) -> Dialogue:
    """A trajectory as a trace. One that was cut before its end (censored) has no end token.

    Raises SimstudentError, naming the trajectory, when a state has no time.
    """
    try:
        turns = [block(number, submission) for number, submission in enumerate(t.submissions, 1)]
    except SimstudentError as error:
        raise SimstudentError(f"{t.key}: {error}") from None
    if "censored" not in t.submissions[-1].more:
        turns.append(Turn("", None, "end"))
    return Dialogue(t.key, "", title_line(assignment), tuple(turns))
