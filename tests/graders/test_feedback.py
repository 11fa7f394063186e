"""What a student reads."""

from __future__ import annotations

import pytest

from graders import FunctionTest, Pool, Problem, ProgramTest
from graders.feedback import feedback, names_of_tests

FULL = {
    "def f(a, b): return a + b": "2 of 2 tests passed. Grade: 100/100.",
    "def f(a, b): return 7": "f(0, 1): returned 7, expected 1\n1 of 2 tests passed. Grade: 50/100.",
    "def f(a, b):\n    return a // a * 7": (
        "f(0, 1): raised ZeroDivisionError: integer division or modulo by zero (line 2)\n"
        "1 of 2 tests passed. Grade: 50/100."
    ),
    "def f(a, b):\n while a: pass": (
        "f(3, 4): took too long\nf(0, 1): returned None, expected 1\n0 of 2 tests passed. Grade: 0/100."
    ),
    "def g(a, b): return a + b": "There is no function named f.\n0 of 2 tests passed. Grade: 0/100.",
    "def f(a, b) return a": "SyntaxError: expected ':' (line 1)\nThe program does not compile. Grade: 0/100.",
    "f(1, 2)": (
        "NameError: name 'f' is not defined (line 1)\n"
        "The program stopped with an error before it could be tested. Grade: 0/100."
    ),
    "while True: pass": "The program took too long before it could be tested. Grade: 0/100.",
    "x = 'a' * 10**12": "The program used too much memory before it could be tested. Grade: 0/100.",
    "": "There is no code to grade. Grade: 0/100.",
}


@pytest.mark.parametrize("code", FULL, ids=range(len(FULL)))
def test_full(pool: Pool, add: Problem, code: str) -> None:
    grade = pool.grade(code, add)
    assert feedback(grade, add, "full") == FULL[code]
    assert feedback(grade, add, "summary") == FULL[code].splitlines()[-1]
    assert feedback(grade, add, "none") == ""


def test_programs(pool: Pool) -> None:
    problem = Problem("sum", (ProgramTest("3\n4\n", "7\n"), ProgramTest("", "no numbers\n")))
    assert feedback(pool.grade("print(12)", problem), problem, "full") == (
        "Input '3\\n4\\n': printed '12', expected '7'\n"
        "Without input: printed '12', expected 'no numbers'\n"
        "0 of 2 tests passed. Grade: 0/100."
    )
    assert "printed nothing, expected '7'" in feedback(pool.grade("x = 1", problem), problem, "full")


def test_long_output_shows_the_first_line_that_differs(pool: Pool) -> None:
    text = "".join(f"line {i} of a rather long text\n" for i in range(20))
    problem = Problem("lines", (ProgramTest("", text),))
    wrong = pool.grade(f"print({text.replace('line 7', 'lime 7')!r})", problem)
    assert wrong.tests[0].detail == (
        "printed 'lime 7 of a rather long text' as line 8, expected 'line 7 of a rather long text'"
    )
    short = pool.grade("print('line 0 of a rather long text')", problem)
    assert short.tests[0].detail == "printed nothing as line 2, expected 'line 1 of a rather long text'"


def test_is_bounded(pool: Pool) -> None:
    tests = tuple(FunctionTest(f"({list(range(i + 50))},)", str(list(range(i + 50)))) for i in range(40))
    problem = Problem("long", tests, entry="f")
    for code in ("def f(x): return x + x", "def f(x): raise ValueError('y' * 10**6)", "def f(x): return 'y' * 10**5"):
        lines = feedback(pool.grade(code, problem), problem, "full").splitlines()
        assert lines[-2:] == ["... and 32 more", "0 of 40 tests passed. Grade: 0/100."]
        assert len(lines) == 10
        assert max(map(len, lines)) <= 160


def test_shows_no_addresses(pool: Pool, add: Problem) -> None:
    code = "class A: pass\ndef f(a, b):\n if a: raise ValueError(A())\n return [A()]"
    text = feedback(pool.grade(code, add), add, "full")
    assert "A object at 0x...>" in text
    assert "0x7" not in text


def test_grader_errors_are_not_the_students_fault(pool: Pool) -> None:
    problem = Problem("p", (FunctionTest("()", "1"),), entry="f", prelude="1 / 0")
    text = feedback(pool.grade("def f(): return 1", problem), problem, "full")
    assert text == "The program could not be graded; this is not its fault."


def test_only_a_full_score_reads_as_100(pool: Pool) -> None:
    problem = Problem("p", tuple(FunctionTest(f"({i},)", str(i)) for i in range(300)), entry="f")
    grade = pool.grade("def f(x): return x if x else None", problem)
    assert feedback(grade, problem, "summary") == "299 of 300 tests passed. Grade: 99/100."
    with pytest.raises(ValueError, match="unknown feedback level 'some'"):
        feedback(grade, problem, "some")  # type: ignore[arg-type]


def test_the_names_of_tests(add: Problem) -> None:
    assert names_of_tests(add) == ["f(3, 4)", "f(0, 1)"]
    printed = Problem("p", (ProgramTest("7\n", "7"), ProgramTest("", "0")))
    assert names_of_tests(printed) == ["Input '7\\n'", "Without input"]
    assert names_of_tests(Problem("c", checker="def a(f): pass", checks=("a",), entry="f")) == ["a"]
