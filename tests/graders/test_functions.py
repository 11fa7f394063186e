"""Function tests of exceptions and of changed arguments."""

from __future__ import annotations

import json

import pytest

from graders import FunctionTest, Pool, Problem, ProblemError, outcomes
from graders.feedback import feedback

SORT = Problem(
    "sort",
    (
        FunctionTest("([2, 1],)", "None", after="([1, 2],)"),
        FunctionTest("([],)", after="([],)"),
        FunctionTest("([3.0],)", after="([3],)"),
    ),
    entry="f",
    cpu_seconds=0.2,
)
RAISES = Problem(
    "root",
    (
        FunctionTest("(4,)", "2.0"),
        FunctionTest("(-1,)", raises="ValueError"),
        FunctionTest("('4',)", raises="TypeError"),
    ),
    entry="f",
    cpu_seconds=0.2,
)


@pytest.mark.parametrize(
    ("code", "vector"),
    [
        ("def f(a): a.sort()", "PPP"),
        ("def f(a): return sorted(a)", "WWW"),
        ("def f(a): a = sorted(a)", "WPP"),
        ("def f(a): a[:] = [1, 2]", "PWW"),
        ("def f(a): a.append(a)", "WWW"),
        ("def f(a): a.append(f)", "WWW"),
        ("def f(a): return a[0]", "WEW"),
        ("def f(a):\n while a: pass", "TPT"),
        ("def f(a): return None, ([1, 2],)", "WWW"),
        ("def f(a): a.extend('x' * 10 ** 6)", "WWW"),
    ],
)
def test_changed_arguments(pool: Pool, code: str, vector: str) -> None:
    assert outcomes(pool.grade(code, SORT)) == vector


@pytest.mark.parametrize(
    ("code", "vector"),
    [
        ("import math\ndef f(a): return math.sqrt(a)", "PPP"),
        ("def f(a): return a ** 0.5", "PWP"),
        ("def f(a): return 2.0", "PWW"),
        ("class ValueError(Exception): pass\ndef f(a):\n if a == 4: return 2\n raise ValueError", "PPE"),
        ("def f(a): raise Exception", "EEE"),
        ("def f(a):\n while True: pass", "TTT"),
        ("def f(a): return 'a' * 10 ** 12", "MMM"),
        ("def f(a): return f", "WWW"),
    ],
)
def test_expected_exceptions(pool: Pool, code: str, vector: str) -> None:
    assert outcomes(pool.grade(code, RAISES)) == vector


def test_details(pool: Pool) -> None:
    assert feedback(pool.grade("def f(a): return 2.0", RAISES), RAISES, "full").splitlines()[0] == (
        "f(-1): returned 2.0, expected ValueError to be raised"
    )
    assert feedback(pool.grade("def f(a): raise KeyError(a)", RAISES), RAISES, "full").splitlines()[1] == (
        "f(-1): raised KeyError: -1 (line 1), expected ValueError"
    )
    assert feedback(pool.grade("def f(a): pass", SORT), SORT, "full").splitlines()[0] == (
        "f([2, 1]): value and arguments were (None, ([2, 1],)), expected (None, ([1, 2],))"
    )


def test_such_problems_survive_json() -> None:
    for problem in (SORT, RAISES):
        assert Problem.from_dict(json.loads(json.dumps(problem.to_dict()))) == problem
    plain = Problem("p", (FunctionTest("()", "1"),), entry="f").to_dict()
    assert plain["tests"] == [{"args": "()", "expected": "1"}]
    with pytest.raises(ProblemError, match="test 1: nothing is expected"):
        Problem.from_dict({"id": "p", "entry": "f", "tests": [{"args": "()"}]})
    with pytest.raises(ProblemError, match="'after' must be a tuple"):
        Problem("p", (FunctionTest("([],)", after="[]"),), entry="f")
