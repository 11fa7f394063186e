"""Each dialogue option, on examples small enough to read."""

from __future__ import annotations

from typing import Any

import pytest

from graders import FunctionTest, Grade, Pool, Problem, TestOutcome
from simstudent.data.records import Assignment, Submission, Talk, Trajectory
from simstudent.data.regrade import regrade
from simstudent.dialogue.earlier import before, earlier_work
from simstudent.dialogue.encode import IGNORED, Encoder, encode
from simstudent.dialogue.serialize import GIVE_UP, HELP, Dialogue, dialogues, system_prompt
from simstudent.errors import SimstudentError
from simstudent.recipe import DialogueSection
from tests.dialogue.templates import with_template

TEST = FunctionTest("(2,)", "4")
ASSIGNMENTS = {
    name: Assignment(name, f"Write {name}(n).", problem=Problem(name, (TEST,), entry=name)) for name in ("a", "b", "c")
}
WRONG, RIGHT = Grade(0.0, "graded", message="wrong"), Grade(1.0, "graded", (TestOutcome("pass"),))
LONG = "def a(n):\n" + "".join(f"    x{n} = {n}\n" for n in range(20)) + "    return n\n"


def told(t: Trajectory, last: Grade = WRONG, **look: Any) -> Dialogue:
    grades = (WRONG,) * (len(t.submissions) - 1) + (last,)
    (made,) = dialogues([t], ASSIGNMENTS, {t.key: grades}, DialogueSection(**look))
    return made


def work(assignment: str, *codes: str, day: int = 1, **more: Any) -> Trajectory:
    subs = tuple(Submission(c, f"2025-10-{day:02}T10:0{n}:00") for n, c in enumerate(codes))
    return Trajectory("s", assignment, subs, **more)


def edited(count: int) -> Trajectory:
    return work("a", *(LONG.replace("x3 = 3", f"x3 = {30 + n}") for n in range(count)))


def test_a_small_edit_is_a_diff_and_the_first_program_whole() -> None:
    made = told(edited(3), code="diff")
    assert made.turns[0].answer.startswith("```python\ndef a(n):")
    assert made.turns[1].answer == (
        "```diff\n@@ -2,7 +2,7 @@\n     x0 = 0\n     x1 = 1\n     x2 = 2\n-    x3 = 30\n+    x3 = 31\n"
        "     x4 = 4\n     x5 = 5\n     x6 = 6\n```"
    )
    assert "unified diff" in made.system
    assert told(edited(3)).turns[1].answer.startswith("```python\ndef a(n):")
    assert "diff" not in told(edited(3)).system


@pytest.mark.parametrize("window", range(1400, 1700, 25))
def test_the_first_program_in_view_is_whole_and_counted_so(window: int) -> None:
    """Cut by a window that all diffs would fit, were it not for the first program in view."""
    tokenizer = with_template("bytes", "headers")
    made = told(edited(12), code="diff")
    whole, diff = len(made.turns[0].answer), len(made.turns[3].answer)
    e = Encoder(tokenizer, window=window, answer_tokens=40)  # less than an answer: no slack that hides a wrong sum
    assert whole > 2 * diff
    encoded = encode(e, [made])
    assert not encoded.unfit
    assert len(encoded.rows) > 1
    for row in encoded.rows:
        assert len(row.ids) <= window
        shown = [s for s in e.segments(made, row) if s.part == "answer"]
        assert e.decode(shown[0].ids).startswith("```python\ndef a(n):")
        assert all(e.decode(s.ids).startswith("```diff") for s in shown[1:])
        if row.first:  # no earlier start would have fitted
            longer = len(e.turn(made.turns[row.first - 1], whole=True))
            last = row.targets[0]
            used = len(e.head(made.system, made.opening)) + longer
            used += sum(len(e.turn(made.turns[n])) for n in range(row.first, last))
            assert used + len(e.answer(made.turns[last])) > window - len(e._piece(e.template.before_answer))


@pytest.mark.parametrize("most", [1, 2])
def test_a_fixed_number_of_programs_in_view(most: int) -> None:
    e = Encoder(with_template("bytes", "headers"), window=20_000, answer_tokens=900, max_programs=most)
    made = told(edited(5))
    rows = encode(e, [made]).rows
    assert [(row.first, row.targets) for row in rows] == [
        (0, tuple(range(most + 1))),
        *((n - most, (n,)) for n in range(most + 1, 5)),
    ]


def test_a_student_who_abandons_gives_up_in_a_trained_turn() -> None:
    t = work("a", "x", "y", outcome="abandoned")
    made = told(t, give_up=True)
    assert [turn.kind for turn in made.turns] == ["program", "program", "give_up"]
    assert made.turns[1].reaction is not None
    assert GIVE_UP in made.system
    e = Encoder(with_template("bytes", "headers"))
    (row,) = encode(e, [made]).rows
    trained = e.decode(i for i in row.labels if i != IGNORED)
    assert trained.endswith(f"{GIVE_UP}<|eot_id|>")
    assert len(told(t).turns) == 2
    assert len(told(work("a", "x", outcome="unknown"), give_up=True).turns) == 1
    assert len(told(t, last=RIGHT, give_up=True).turns) == 2, "the graders say that it is solved"


def test_talk_stands_between_programs_and_a_hint_is_not_graded() -> None:
    talk = (Talk("tutor", "Look at line 1."), Talk("student", "Why?"), Talk("tutor", "It is wrong."))
    subs = (Submission("x", talk=talk), Submission("y", kind="hint", talk=(Talk("tutor", "Use 2."),)), Submission("z"))
    made = told(Trajectory("s", "a", subs), talk=True, feedback="summary")
    assert [(t.answer, t.reaction) for t in made.turns] == [
        ("```python\nx\n```", "0 of 1 test passed. Grade: 0/100.\n\nTutor: Look at line 1."),
        ("Why?", "Tutor: It is wrong."),
        (f"```python\ny\n```\n\n{HELP}", "Tutor: Use 2."),
        ("```python\nz\n```", None),
    ]
    silent = told(Trajectory("s", "a", subs), feedback="summary")
    assert [t.answer for t in silent.turns] == ["```python\nx\n```", "```python\ny\n```", "```python\nz\n```"]
    assert all("Tutor" not in str(t.reaction) for t in silent.turns)


def test_times_stand_before_a_submission_at_the_end_of_the_user_message() -> None:
    made = told(work("a", "x", "y"), time_header="elapsed")
    contents = [m["content"] for m in made.messages()]
    assert contents[1] == "Write a(n)."
    assert contents[3].endswith("\n\n[60 s later]")
    absolute = told(work("a", "x"), time_header="absolute")
    assert absolute.messages()[1]["content"] == "Write a(n).\n\n[2025-10-01 10:00:00]"
    with pytest.raises(SimstudentError, match=r"s/a: a submission has no time; set dialogue.time_header: none"):
        told(Trajectory("s", "a", (Submission("x"), Submission("y"))), time_header="elapsed")


def test_the_default_looks_as_it_did_before_there_were_options() -> None:
    look = DialogueSection()
    assert system_prompt(look).endswith(
        "Answer with your next submission: the whole program in one code block, nothing else."
    )
    assert system_prompt(DialogueSection(system="Mine.", give_up=True)) == "Mine."


def test_earlier_work_is_what_was_done_before_the_first_submission() -> None:
    now = work("c", "now", day=5)
    late = Trajectory("s", "b", (*work("b", "b1", "b2", day=4).submissions, *work("b", "future", day=6).submissions))
    others = [work("a", "a1", day=2), late, work("c", "other", day=1), now]
    assert [(t.assignment, [s.code for s in t.submissions]) for t in before(now, others, 5)] == [
        ("a", ["a1"]),
        ("b", ["b1", "b2"]),
    ]
    assert [t.assignment for t in before(now, others, 1)] == ["b"]
    assert before(work("a", "a1", day=1), others, 5) == []
    with pytest.raises(SimstudentError, match="it has no time"):
        before(now, [Trajectory("s", "a", (Submission("x"),))], 5)


def test_earlier_work_is_shown_with_its_feedback_and_never_trained() -> None:
    look = DialogueSection(history={"assignments": 2, "tokens": 400}, feedback="summary")
    right = "def a(n):\n    return n * 2\n"
    side = [work("a", "def a(n):\n    return 1\n", right, day=1), work("c", "def c(n):\n    return 3\n", day=3)]
    with Pool(1) as pool:
        shown = earlier_work(side, side, ASSIGNMENTS, pool, look)
        grades = regrade(side, ASSIGNMENTS, pool)
    first, second = dialogues(side, ASSIGNMENTS, grades, look, shown)
    assert first.earlier == ()
    e = Encoder(with_template("bytes", "headers"), history_tokens=400)
    (row,) = encode(e, [second]).rows
    text = e.decode(row.ids)
    assert "An earlier assignment:\nWrite a(n).\n\nYour submission:\n```python\ndef a(n):\n    return 1\n" in text
    assert "1 of 1 test passed. Grade: 100/100.\n\nThis assignment:\nWrite c(n).<|eot_id|>" in text
    assert "return 1" not in e.decode(i for i in row.labels if i != IGNORED)
    assert text.startswith("".join(e.decode(e.head(second.system, second.opening, second.earlier))))
    short = Encoder(with_template("bytes", "headers"), history_tokens=220)
    (cut,) = encode(short, [second]).rows
    assert "return 1" not in short.decode(cut.ids), "the older program goes first"
    assert f"Write a(n).\n\nYour submission:\n```python\n{right}" in short.decode(cut.ids)
    (none,) = encode(Encoder(with_template("bytes", "headers"), history_tokens=30), [second]).rows
    assert "earlier" not in short.decode(none.ids)


SCRIPT = """import autograder
def test_passed():
    out, error = autograder.run_script("double.py", ["2"])
    print("Feedback:", out)
    return 100 if out.strip() == "4" else 0
"""


def test_syntax_errors_stay_with_their_message_also_under_a_course_script() -> None:
    course = Assignment("double", "Double it.", problem=Problem("double", autograder=SCRIPT, max_points=100))
    for assignment in (course, ASSIGNMENTS["a"]):
        t = Trajectory("s", assignment.id, (Submission("print(1"), Submission("print(2)")))
        with Pool(1) as pool:
            grades = regrade([t], {assignment.id: assignment}, pool)
        (made,) = dialogues([t], {assignment.id: assignment}, grades, DialogueSection())
        assert made.turns[0].reaction == (
            "SyntaxError: '(' was never closed (line 1)\nThe program does not compile. Grade: 0/100."
        )


def test_another_submission_is_handed_in_as_it_would_follow_here() -> None:
    """What preference pairs compare: the same context, two ways to go on."""
    made = told(edited(4), code="diff")
    later = made.handed_in(3, after=1)
    assert "-    x3 = 30\n+    x3 = 33\n" in later.answer
    assert made.handed_in(1, after=1) is made.turns[1]
    again = made.handed_in(0, after=1)
    assert again.answer.startswith("```python\ndef a(n):"), "an unchanged program is written whole"
    assert told(edited(4)).handed_in(3, after=1) == told(edited(4)).turns[3]
    timed = told(edited(3), time_header="elapsed")
    assert timed.messages(2)[-1]["content"].endswith("[60 s later]")
    assert timed.messages(2) == timed.messages()[: len(timed.messages(2))]
