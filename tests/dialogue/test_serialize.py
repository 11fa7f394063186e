"""Programs into fences and back, and what each feedback level shows."""

from __future__ import annotations

import random

import pytest

from graders import FunctionTest, Grade, Problem, TestOutcome
from simstudent.data.records import Assignment, Submission, Trajectory
from simstudent.dialogue.serialize import dialogues, extract_code, fence, opening, system_prompt
from simstudent.errors import SimstudentError
from simstudent.recipe import DialogueSection

PROBLEM = Problem("double", (FunctionTest("(2,)", "4"),), entry="double")
ASSIGNMENT = Assignment("double", "Return twice the number.", problem=PROBLEM)


@pytest.mark.parametrize("seed", range(200))
def test_a_fenced_program_comes_back_exactly(seed: int) -> None:
    draw = random.Random(seed)
    code = "".join(
        draw.choice(["`", "```", "````\n", "\n", " ", "x", "```python\n", "é", "\t"]) for _ in range(seed % 17)
    )
    assert extract_code(fence(code)) == code


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ("Here:\n```python\nx = 1\n```\nDone.", "x = 1"),
        ("```\nx = 1\n```", "x = 1"),
        ("```python\nfirst\n```\n```python\nsecond\n```", "first"),
        ("```python\r\nx = 1\r\n```", "x = 1"),
        ("```python\nx = 1", None),
        ("I do not know.", None),
        ("", None),
        ("`x = 1`", None),
        ("```python\n```", ""),
    ],
)
def test_the_first_closed_block_is_the_program(answer: str, code: str | None) -> None:
    assert extract_code(answer) == code


def trajectory(*codes: str) -> Trajectory:
    return Trajectory("s1", "double", tuple(Submission(c) for c in codes))


WRONG = Grade(0.0, "graded", (TestOutcome("wrong", detail="double(2): returned 3, expected 4"),))
RIGHT = Grade(1.0, "graded", (TestOutcome("pass"),))


def test_a_dialogue_has_the_statement_the_programs_and_the_feedback() -> None:
    (d,) = dialogues([trajectory("a", "b")], {"double": ASSIGNMENT}, {"s1/double": (WRONG, RIGHT)}, DialogueSection())
    roles = [m["role"] for m in d.messages()]
    assert roles == ["system", "user", "assistant", "user", "assistant"]
    assert d.messages()[1]["content"].startswith("Return twice the number.")
    assert "expected 4" in d.messages()[3]["content"]


def test_without_feedback_nothing_about_the_grade_is_said_anywhere() -> None:
    assignments = {"double": ASSIGNMENT}
    wrong, right = (
        dialogues([trajectory("a", "b", "c")], assignments, {"s1/double": (g, g, g)}, DialogueSection(feedback="none"))
        for g in (WRONG, RIGHT)
    )
    assert wrong == right
    prompt = system_prompt(DialogueSection(feedback="none"))
    assert "test" not in prompt
    assert "feedback" not in prompt.lower()


def test_the_opening_names_the_function_unless_the_statement_does() -> None:
    assert "named double" in opening(ASSIGNMENT)
    assert "named double" not in opening(Assignment("d", "Write double(n).", problem=PROBLEM))


def test_an_assignment_without_tests_uses_what_was_logged() -> None:
    plain = {"double": Assignment("double", "Double it.")}
    t = Trajectory("s1", "double", (Submission("a", grade=0.25, feedback="Try again"), Submission("b", grade=0.5)))
    logged = {"s1/double": (Grade(0.25, "graded"), Grade(0.5, "graded"))}
    (full,) = dialogues([t], plain, logged, DialogueSection())
    (summary,) = dialogues([t], plain, logged, DialogueSection(feedback="summary"))
    assert full.turns[0].reaction == "Try again"
    assert summary.turns[0].reaction == "Grade: 25/100."
    ungraded = Trajectory("s1", "double", (Submission("a"), Submission("b")))
    with pytest.raises(SimstudentError, match=r"dialogue\.feedback: none"):
        dialogues([ungraded], plain, logged, DialogueSection(feedback="summary"))
