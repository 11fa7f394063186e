"""Rewards: what each is worth, and that a failure of the graders is worth nothing at all."""

from __future__ import annotations

from concurrent.futures import Future
from types import SimpleNamespace

import pytest

from graders import FunctionTest, Grade, Pool, Problem
from simstudent.dialogue.edits import Answer, read_answer
from simstudent.errors import SimstudentError
from simstudent.training.reinforce import Judge, grade_early, signs
from simstudent.training.rewards import REWARDS, Example, check_name, reward

PROBLEM = Problem("add", (FunctionTest("(1, 2)", "3"), FunctionTest("(0, 0)", "0")), entry="add")
PREVIOUS = "def add(a, b):\n    return a\n"
NEXT = "def add(a, b):\n    return a - b\n"
RIGHT = "def add(a, b):\n    return a + b\n"


@pytest.fixture(scope="module")
def pool() -> Pool:
    with Pool(1) as opened:
        yield opened


def example(pool: Pool) -> Example:
    return Example(PROBLEM, NEXT, pool.grade(NEXT, PROBLEM), PREVIOUS)


@pytest.mark.parametrize(
    ("code", "worth"),
    [
        (NEXT + "# comment\n", {"tiered": 2.0, "grade": 1.0, "ast": 1.0, "compile": 0.0, "tests": 1.0, "change": 0.0}),
        (PREVIOUS, {"tiered": 1.0, "grade": 1.0, "ast": 0.0, "tests": 1.0, "similarity": 0.0, "change": -1.0}),
        (RIGHT, {"tiered": 0.0, "grade": 0.0, "ast": 0.0, "compile": 0.0, "tests": 0.5, "change": 0.0}),
        ("def add(", {"tiered": -1.0, "grade": 0.0, "compile": -1.0, "tests": 0.0}),
        (None, {"tiered": -1.0, "grade": 0.0, "ast": 0.0, "compile": -1.0, "tests": 0.0, "similarity": -1.0}),
    ],
)
def test_what_each_reward_pays(pool: Pool, code: str | None, worth: dict[str, float]) -> None:
    grade = pool.grade(code, PROBLEM)
    assert {name: reward(name)(code, example(pool), grade) for name in worth} == worth


def test_similarity_pays_for_getting_closer_than_copying(pool: Pool) -> None:
    similar = reward("similarity")
    grade = pool.grade(NEXT, PROBLEM)
    assert similar(NEXT, example(pool), grade) == 1.0
    assert similar("print('something else entirely')", example(pool), grade) < 0  # type: ignore[operator]


def test_a_failure_of_the_graders_is_never_a_number(pool: Pool) -> None:
    failed = Grade(0.0, "grader_error", message="lost")
    for name in ("tiered", "grade", "tests"):
        assert REWARDS[name](RIGHT, example(pool), failed) is None


def test_names_are_checked() -> None:
    with pytest.raises(ValueError, match="did you mean 'tiered'"):
        check_name("tierd")
    with pytest.raises(ValueError, match="cannot be imported"):
        reward("simstudent.nowhere:f")
    assert reward("math:hypot")(3.0, 4.0) == 5.0  # type: ignore[call-arg, arg-type]


class Letters:
    """An encoder of one token a character."""

    stop_ids = (0,)

    def decode(self, ids: list[int]) -> str:
        return "".join(map(chr, ids))

    def read(self, answer: str, previous: str | None) -> Answer:
        return read_answer(answer, previous, "whole")


def ids(text: str, ended: bool = True) -> list[int]:
    return [ord(c) for c in text] + [0] * ended


def test_the_judge_counts_what_it_pays_for(pool: Pool) -> None:
    judge = Judge(Letters(), {"k": example(pool)}, pool, {"tiered": 1.0, "change": 0.5})  # type: ignore[arg-type]
    answers = [f"```python\n{code}```" for code in (NEXT, PREVIOUS, RIGHT)] + ["I give up"]
    worth = judge(["k"] * 4, [ids(a) for a in answers])  # type: ignore[arg-type]
    assert worth == [2.0, 0.5, 0.0, -1.0]
    logged = judge.drain()
    assert {name: logged[name] for name in ("varying", "repeats", "full_marks", "unscored")} == {
        "varying": 1.0,
        "repeats": 0.25,
        "full_marks": 0.25,
        "unscored": 0.0,
    }
    assert judge.drain() == {}
    judge(["k"] * 2, [ids("```python\nx", ended=False)] * 2)  # type: ignore[arg-type]
    assert (judge.cut_off, judge.constant) == (1, 1)
    with pytest.raises(SimstudentError, match=r"dapo\.rewards"):
        Judge(Letters(), {}, pool, {"no.such:thing": 1.0})  # type: ignore[arg-type]


def test_signs_of_gaming() -> None:
    assert signs({"repeats": 0.2, "full_marks": 0.1, "students_full_marks": 0.1}, 0) == []
    assert len(signs({"repeats": 0.95, "full_marks": 0.9, "students_full_marks": 0.2}, 12)) == 3


class Counted(Pool):
    """A pool that notes what it was given."""

    def __init__(self) -> None:
        super().__init__(1)
        self.given: list[str | None] = []

    def grade_soon(self, code: str | None, problem: Problem) -> Future[Grade]:
        self.given.append(code and code + "\n")  # the fence's last line end is not the program's
        return super().grade_soon(code, problem)


def test_completions_are_graded_while_others_are_being_written(pool: Pool) -> None:
    answers = [ids(f"```python\n{code}```") for code in (NEXT, PREVIOUS, NEXT)]
    ends = [[], [answers[0]], [answers[1], answers[2]]]

    class Engine:
        """Ends one completion in its second step and two in its third."""

        def step(self) -> list[SimpleNamespace]:
            unended = SimpleNamespace(finished=False, prompt_token_ids=[7, 8], outputs=[])
            done = [SimpleNamespace(token_ids=found) for found in ends.pop(0)]
            return [unended, *(SimpleNamespace(finished=True, prompt_token_ids=[7, 8], outputs=[d]) for d in done)]

    engine = Engine()
    with Counted() as counted:
        judge = Judge(Letters(), {"k": example(pool)}, counted, {"tiered": 1.0})  # type: ignore[arg-type]
        grade_early(engine, {"k": (7, 8)}, judge)
        engine.step()
        assert counted.given == []
        engine.step()
        assert counted.given == [NEXT]
        engine.step()
        assert counted.given == [NEXT, PREVIOUS]  # the third is equal to the first
        late = ids(f"```python\n{RIGHT}```")
        assert judge(["k"] * 4, [*answers, late]) == [2.0, 1.0, 2.0, 0.0]  # type: ignore[list-item]
        assert counted.given == [NEXT, PREVIOUS, RIGHT]
        assert judge(["k"], answers[:1]) == [2.0]  # type: ignore[arg-type]
        assert counted.given[3:] == [NEXT]  # nothing is kept from one call to the next
