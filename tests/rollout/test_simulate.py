"""The simulation loop: what it shows the model, when it stops, what counts as whose failure."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from graders import FunctionTest, Grade, Pool, Problem
from simstudent.data.records import Assignment, Submission, Trajectory, outcome_of
from simstudent.dialogue.encode import Encoder
from simstudent.errors import SimstudentError
from simstudent.recipe import DialogueSection
from simstudent.rollout.engine import Completion, EngineError, Sampling
from simstudent.rollout.engines.baselines import baseline
from simstudent.rollout.records import Rollout
from simstudent.rollout.simulate import (
    Past,
    Reply,
    Start,
    Student,
    language_model,
    request_seed,
    simulate,
    stages_of,
    starts,
)
from tests.dialogue.templates import with_template
from tests.evaluation.rows import rollout_rows, step_rows

TESTS = tuple(FunctionTest(f"({n},)", str(2 * n)) for n in range(4))
PROBLEM = Problem("double", TESTS, entry="double", solution="def double(n):\n    return 2 * n\n")
ASSIGNMENT = Assignment("double", "Return twice the number.", problem=PROBLEM)


def program(right_for: int) -> str:
    """A program that passes the first ``right_for`` of the four tests."""
    return f"def double(n):\n    return 2 * n if n < {right_for} else -1\n"


CODES = [program(n) for n in (0, 1, 1, 2, 4)]


@pytest.fixture(scope="module")
def pool() -> Any:
    with Pool(1) as made:
        yield made


def start_at(t: int, pool: Pool, codes: list[str] = CODES) -> Start:
    grades = tuple(pool.grade_many([(c, PROBLEM) for c in codes]))
    subs = tuple(Submission(c, grade=g.score) for c, g in zip(codes, grades, strict=True))
    return Start(Trajectory("s", "double", subs, outcome_of(subs)), ASSIGNMENT, grades, t)


def run(start: Start, student: Student, pool: Pool, *, steps: int = 5, **look: Any) -> Rollout:
    async def grade(code: str | None, assignment: Assignment) -> Grade:
        assert assignment.problem is not None
        return await pool.grade_async(code, assignment.problem)

    return asyncio.run(simulate(start, "test", student, grade, steps=steps, look=DialogueSection(**look)))


def script(*answers: str | None) -> tuple[Student, list[Past]]:
    """A student that hands in these programs, and what it was shown before each."""
    seen: list[Past] = []

    async def respond(start: Start, past: Past, k: int) -> Reply:
        seen.append(past)
        code = answers[k - 1]
        return Reply(code, "no idea" if code is None else code)

    return respond, seen


def test_it_ends_when_the_real_student_is_done(pool: Pool) -> None:
    student, _ = script(*[program(1)] * 5)
    rollout = run(start_at(2, pool), student, pool)
    assert (rollout.truths, len(rollout.steps), rollout.stop) == (3, 3, "student_done")
    assert [s.student_grade for s in rollout.steps] == [0.25, 0.5, 1.0]
    assert [s.grade for s in rollout.steps] == [0.25] * 3
    assert rollout.steps[0].tests == "PWWW"
    assert str(rollout.steps[0].feedback).splitlines()[0] == "double(1): returned -1, expected 2"
    assert (rollout.steps[2].student_feedback, rollout.steps[2].exception) == (
        "4 of 4 tests passed. Grade: 100/100.",
        "",
    )
    assert (rollout.previous_code, rollout.previous_grade) == (CODES[1], 0.25)
    assert rollout.solved


def test_it_ends_at_the_step_limit(pool: Pool) -> None:
    student, _ = script(*[program(1)] * 5)
    rollout = run(start_at(1, pool), student, pool, steps=2)
    assert (rollout.truths, len(rollout.steps), rollout.stop) == (2, 2, "step_limit")


def test_a_correct_program_leaves_the_students_later_steps_uncovered(pool: Pool) -> None:
    student, _ = script(program(1), program(4), program(1), program(1))
    rollout = run(start_at(1, pool), student, pool)
    assert (rollout.truths, len(rollout.steps), rollout.stop) == (4, 2, "solved")


def test_each_step_sees_its_own_programs_and_their_feedback(pool: Pool) -> None:
    student, seen = script(program(2), program(3), program(1))
    run(start_at(2, pool), student, pool)
    assert [len(past.turns) for past in seen] == [2, 3, 4]
    assert seen[2].turns[2].answer == f"```python\n{program(2)}\n```"
    assert "2 of 4 tests passed" in str(seen[2].turns[2].reaction)
    assert seen[2].last_code == program(3)


def test_without_feedback_no_turn_tells_the_grade(pool: Pool) -> None:
    student, seen = script(program(2), program(3), program(1))
    run(start_at(2, pool), student, pool, feedback="none")
    assert {turn.reaction for turn in seen[2].turns} == {"Submission received."}


def test_an_answer_without_a_program_is_the_students_failure(pool: Pool) -> None:
    student, seen = script(None, program(2), program(2))
    rollout = run(start_at(2, pool), student, pool)
    assert (rollout.steps[0].status, rollout.steps[0].grade, rollout.steps[0].reply) == ("no_code", 0.0, "no idea")
    assert rollout.error is None
    assert seen[1].turns[2].answer == "no idea"
    assert seen[1].last_code == CODES[1]


def test_an_engine_failure_is_an_error_and_no_score(pool: Pool) -> None:
    async def broken(start: Start, past: Past, k: int) -> Reply:
        if k == 2:
            raise EngineError("out of memory")
        return Reply(program(1))

    rollout = run(start_at(1, pool), broken, pool)
    assert (rollout.stop, rollout.error, len(rollout.steps)) == ("error", "EngineError: out of memory", 1)


def test_a_grader_failure_is_an_error_and_no_score(pool: Pool) -> None:
    async def lost(code: str | None, assignment: Assignment) -> Grade:
        return Grade(0.0, "grader_error", message="worker lost")

    student, _ = script(program(1))
    rollout = asyncio.run(simulate(start_at(1, pool), "test", student, lost, steps=1, look=DialogueSection()))
    assert (rollout.stop, rollout.steps) == ("error", ())
    assert "worker lost" in str(rollout.error)


def test_a_bug_is_not_swallowed(pool: Pool) -> None:
    async def bug(start: Start, past: Past, k: int) -> Reply:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(start_at(1, pool), bug, pool)


def test_baselines(pool: Pool) -> None:
    start = start_at(2, pool)
    repeat = run(start, baseline("repeat-last"), pool)
    assert [s.code for s in repeat.steps] == [CODES[1]] * 3
    half = run(start, baseline("constant-0.5"), pool)
    assert [(s.grade, s.status, s.code) for s in half.steps] == [(0.5, "constant", None)] * 3
    solved = run(start, baseline("reference"), pool)
    assert (len(solved.steps), solved.stop) == (1, "solved")


def test_no_reference_solution_is_said(pool: Pool) -> None:
    start = start_at(1, pool)
    bare = Problem("double", TESTS, entry="double")
    without = Start(start.trajectory, Assignment("double", "x", problem=bare), start.grades, 1)
    with pytest.raises(SimstudentError, match="no reference solution"):
        run(without, baseline("reference"), pool)


def test_starts_are_all_prefixes_in_an_order_that_shares_them(pool: Pool) -> None:
    t = start_at(1, pool).trajectory
    grades = {t.key: start_at(1, pool).grades}
    found = starts([t], {"double": ASSIGNMENT}, grades, first=1, samples=2)
    assert [(s.t, s.sample) for s in found] == [(t, n) for t in (1, 2, 3, 4) for n in (0, 1)]
    assert len({s.key for s in found}) == len(found)
    assert [s.t for s in starts([t], {"double": ASSIGNMENT}, grades, first=3)] == [3, 4]


def test_stages_ask_for_a_program_without_showing_any(pool: Pool) -> None:
    assert [stages_of(n) for n in (1, 2, 3, 6)] == [
        {0: "first"},
        {0: "first", 1: "last"},
        {0: "first", 1: "middle", 2: "last"},
        {0: "first", 2: "middle", 5: "last"},
    ]
    t = start_at(1, pool).trajectory
    grades = {t.key: start_at(1, pool).grades}
    found = starts([t], {"double": ASSIGNMENT}, grades, first=1, stages=True)
    assert [(s.t, s.stage) for s in found] == [(0, "first"), (2, "middle"), (4, "last")]
    student, seen = script(program(2))
    rollout = run(found[2], student, pool, steps=1)
    assert (seen[0].turns, seen[0].last, seen[0].header) == ((), None, "\n\n[Your last submission to this assignment.]")
    assert (rollout.start, rollout.truths, rollout.previous_code, rollout.previous_grade) == (4, 1, None, None)
    assert rollout.steps[0].student_code == CODES[4]


def test_rollouts_survive_json(pool: Pool) -> None:
    student, _ = script(None, program(2), program(4))
    rollout = run(start_at(2, pool), student, pool)
    assert Rollout.from_dict(rollout.to_dict()) == rollout


def test_request_seeds_depend_on_key_and_step_only() -> None:
    seeds = {request_seed(1, key, k) for key in ("a", "b") for k in (1, 2)}
    assert len(seeds) == 4
    assert request_seed(1, "a", 1) == request_seed(1, "a", 1) != request_seed(2, "a", 1)
    assert all(0 <= s < 2**31 for s in seeds)


class Scripted:
    """An engine that gives these answers, whatever it is asked."""

    def __init__(self, tokenizer: Any, *answers: str) -> None:
        self.answers = [tuple(tokenizer(a, add_special_tokens=False)["input_ids"]) for a in answers]
        self.asked: list[tuple[int, ...]] = []

    async def generate(self, ids: Any, sampling: Sampling, *, seed: int, adapter: str | None) -> Completion:
        self.asked.append(tuple(ids))
        return Completion(self.answers[len(self.asked) - 1], False)


def model(pool: Pool, t: int, answers: list[str], codes: list[str] = CODES, **look: Any) -> tuple[Rollout, list[str]]:
    """A rollout of a model with these answers, and the prompts that it saw."""
    tokenizer = with_template("bytes", "headers")
    encoder = Encoder(tokenizer, window=20_000, code=look.get("code", "whole"))
    engine = Scripted(tokenizer, *answers)
    section = DialogueSection(**look)
    student = language_model(engine, encoder, Sampling(encoder.stop_ids), adapter=None, seed=1, look=section)
    rollout = run(start_at(t, pool, codes), student, pool, **look)
    return rollout, [encoder.decode(ids) for ids in engine.asked]


def test_giving_up_ends_the_rollout_and_leaves_the_rest_uncovered(pool: Pool) -> None:
    answers = [f"```python\n{program(2)}\n```", " I give up.\n"]
    rollout, _ = model(pool, 1, answers, give_up=True)
    assert (rollout.stop, len(rollout.steps), rollout.truths, rollout.error) == ("give_up", 1, 4, None)
    assert [row.coverage for row in step_rows(rollout)] == [1.0, 0.0, 0.0, 0.0]
    (figures,) = rollout_rows([rollout])
    assert (figures.solved_within_steps, figures.gave_up, figures.student_gave_up) == (0.0, 1.0, 0.0)
    again, seen = model(pool, 2, [answers[0]] * 2 + answers[1:], give_up=True, codes=CODES[:4])
    assert (again.stop, len(again.steps), again.truths, again.student_gave_up) == ("give_up", 2, 2, True)
    assert len(seen) == 3, "asked once more where the student gave up"
    without, _ = model(pool, 4, answers[1:])
    assert (without.stop, without.steps[0].status) == ("student_done", "no_code")


def test_a_diff_changes_the_last_program_and_is_shown_as_the_student_would_have_written_it(pool: Pool) -> None:
    diff = "```diff\n@@ -1,2 +1,3 @@\n+# mine\n def double(n):\n     return 2 * n if n < 1 else -1\n```"
    whole = "```python\n# mine\n# again\ndef double(n):\n    return 2 * n if n < 1 else -1\n\n```"
    rollout, seen = model(pool, 2, [diff, whole, diff], code="diff")
    assert [s.code for s in rollout.steps[:2]] == [f"# mine\n{program(1)}", f"# mine\n# again\n{program(1)}"]
    assert rollout.steps[0].tests == "PWWW"
    assert whole not in seen[2]
    assert "@@\n # mine\n+# again\n def double(n):\n" in seen[2]


def test_a_diff_that_does_not_fit_is_an_invalid_submission(pool: Pool) -> None:
    bad = "```diff\n@@ -1 +1 @@\n-nothing like it\n+at all\n```"
    good = "```diff\n@@ -1,2 +1,3 @@\n+# mine\n def double(n):\n     return 2 * n if n < 1 else -1\n```"
    rollout, seen = model(pool, 2, [bad, good, bad], code="diff")
    step = rollout.steps[0]
    assert (step.code, step.grade, step.status, step.reply) == (None, 0.0, "bad_diff", bad)
    assert step.reason == "the lines that the diff changes are not in the last program"
    assert str(step.feedback).startswith("The lines that the diff changes are not in the last program.\n")
    assert f"{bad}<|eot_id|>" in seen[1]
    assert "The lines that the diff changes are not in the last program.\nThere is no code to grade." in seen[1]
    assert rollout.steps[1].code == f"# mine\n{program(1)}"
    assert Rollout.from_dict(rollout.to_dict()) == rollout
    assert [row.compiles for row in step_rows(rollout)] == [0.0, 1.0, 0.0]


def test_words_are_no_submission_but_patience_ends(pool: Pool) -> None:
    rollout, seen = model(pool, 4, ["Why?", f"```python\n{program(2)}\n```"], talk=True)
    assert (len(rollout.steps), rollout.steps[0].said, rollout.steps[0].code) == (1, ("Why?",), program(2))
    assert "Why?<|eot_id|>" in seen[1]
    assert "(No answer.)" in seen[1]
    assert Rollout.from_dict(rollout.to_dict()) == rollout
    endless, _ = model(pool, 4, ["Why?"] * 4, talk=True)
    assert (endless.steps[0].status, len(endless.steps[0].said), endless.steps[0].reply) == ("no_code", 3, "Why?")
    silent, _ = model(pool, 4, ["Why?"])
    assert (silent.steps[0].status, silent.steps[0].said) == ("no_code", ())


def test_without_feedback_no_prompt_of_a_rollout_tells_a_grade(pool: Pool) -> None:
    answers = [f"```python\n{program(n)}\n```" for n in (2, 3, 1)]
    _, seen = model(pool, 2, answers, feedback="none")
    assert all("passed" not in text and "Grade" not in text and "feedback" not in text for text in seen)
