"""Functions graded by trusted checks: what a check sees of a program, what comes out, and whose failure is whose."""

from __future__ import annotations

import json
import marshal
from pathlib import Path

import pytest

from graders import FunctionTest, Grade, GradeCache, Pool, Problem, ProblemError, outcomes, trusted
from graders.checker import grade_with
from graders.feedback import feedback
from graders.sandbox import Request, Run, Worker

# Made up, in the form of HumanEval's.
CHECK = """
METADATA = {'author': 'nobody'}
def check(candidate):
    assert candidate([3, 1, 2]) == [1, 2, 3]
    assert candidate([]) == [], "an empty list"
    for n in range(20):
        assert candidate(list(range(n, 0, -1))) == list(range(1, n + 1))
"""
SORTS = Problem("sort", entry="f", checker=CHECK, cpu_seconds=0.2)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checks get less time, so that those which never end cost less."""
    monkeypatch.setattr(trusted, "CPU_SECONDS", 0.4)


def checked(*lines: str, **fields: object) -> Problem:
    """A problem whose check has this body."""
    text = "def check(candidate):\n" + "".join(f"    {line}\n" for line in lines)
    return Problem(**{"id": "p", "entry": "f", "checker": text, "cpu_seconds": 0.2} | fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("code", "status", "vector", "detail"),
    [
        ("def f(x): return sorted(x)", "graded", "P", ""),
        ("def f(x): return x", "graded", "W", "f([3, 1, 2]) returned [3, 1, 2]; failed: assert candidate([3, 1, 2])"),
        ("def f(x): return sorted(x) or None", "graded", "W", "f([]) returned None; failed: an empty list"),
        ("def f(x): return sorted(x) if x else 1 // 0", "graded", "E", "f([]) raised ZeroDivisionError: integer div"),
        ("def f(x):\n while len(x) < 3: pass\n return sorted(x)", "graded", "T", "took too long"),
        ("def f(x): return sorted(x) if x else [0] * 10**10", "graded", "M", "used too much memory"),
        ("def f(x):\n import os\n if not x: os._exit(0)\n return sorted(x)", "graded", "E", "ended the interpreter"),
        ("def f(x): exit()", "graded", "E", "f([3, 1, 2]) raised SystemExit"),
        ("def f(x): return (y for y in x)", "graded", "W", "returned <generator object f.<locals>.<genexpr> at 0x...>"),
        ("def f(x): return [0] * 10 ** 6", "graded", "W", "f([3, 1, 2]) returned a very large value"),
        ("def g(x): return sorted(x)", "graded", "E", "there is no function named f"),
        ("def f(x:", "syntax_error", "-", ""),
        ("1 / 0", "runtime_error", "-", ""),
        ("while True: pass", "timeout", "-", ""),
        (" ", "no_code", "-", ""),
    ],
)
def test_outcomes(pool: Pool, code: str, status: str, vector: str, detail: str) -> None:
    grade = pool.grade(code, SORTS)
    assert (grade.status, outcomes(grade), grade.score) == (status, vector, float(vector == "P"))
    assert grade.tests[0].detail.startswith(detail) or detail in grade.tests[0].detail


def test_named_checks_share_the_score_and_nothing_else(pool: Pool) -> None:
    checker = """
def small(candidate): assert candidate(1) == 1
def large(candidate): assert candidate(2) == 1, "the second call"
def silent(candidate): return candidate(3) == 1
"""
    problem = Problem("p", entry="f", checker=checker, checks=("small", "large", "silent"), cpu_seconds=0.2)
    count = "n = 0\ndef f(x):\n global n\n n += 1\n return n"
    assert outcomes(pool.grade(count, problem)) == "PPP"  # the program is loaded afresh for each
    grade = pool.grade("def f(x):\n while x == 1: pass\n return x - 1", problem)
    assert (outcomes(grade), round(grade.score, 3)) == ("TPW", 0.333)
    assert feedback(grade, problem, "full").splitlines() == [
        "small: took too long",
        "silent: f(3) returned 2; failed: silent returned False",
        "1 of 3 tests passed. Grade: 33/100.",
    ]


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        (["x = [3, 1]", "assert candidate(x) is None", "assert x == [1, 3]"], "def f(x): x.sort()"),
        (["assert candidate(1, b=[2]) == [2, 1]"], "def f(a, *, b): return [*b, a]"),
        (["assert f(2) == candidate(2) == helper(2)"], "def helper(x): return 0\ndef f(x): return x + 1"),
        (["x = candidate(1)", "for _ in range(5): x = candidate(x)", "assert x == 7"], "def f(x): return x + 1"),
        (["try: candidate(-1)", "except ValueError as e: assert str(e) == 'no'", "else: raise AssertionError"],
         "def f(x): raise ValueError('no')"),
        (["try: candidate(-1)", "except Exception as e: assert type(e).__name__ == 'Own'"],
         "class Own(Exception): pass\ndef f(x): raise Own"),
        (["import random", "x = random.random()", "assert candidate(x) == x"], "def f(x): return x"),
        (["assert candidate({1: {2, (3,)}}, 1j) == ({1: {2, (3,)}}, -10 ** 30, 'é', b'\\0', frozenset({1}), 1j)"],
         "def f(x, y): return x, -10 ** 30, 'é', b'\\0', frozenset({1}), y"),
        (["assert abs(candidate(0.1) - 0.3) < 1e-9"], "def f(x): return 0.1 + 0.2"),
        (["assert all(candidate(n) == n for n in range(1000))"], "def f(x): return x"),
    ],
)  # fmt: skip
def test_what_a_check_may_do(pool: Pool, lines: list[str], code: str) -> None:
    grade = pool.grade(code, checked(*lines, prelude="def helper(x): return x + 1\n"))
    assert outcomes(grade) == "P", grade


@pytest.mark.parametrize(
    ("lines", "code", "detail"),
    [
        (["assert abs(candidate(1) - 1) < 1e-6"], "def f(x): pass", "f(1) returned None; the check raised TypeError"),
        (["assert candidate(1)[0] == 1"], "def f(x): return ''", "f(1) returned ''; the check raised IndexError"),
        (["for x in candidate(1): y = x", "assert y"], "def f(x): return []", "the check raised UnboundLocalError"),
        (["while candidate(1) != 2: pass"], "def f(x): return True", "with its answers the check makes too many calls"),
        (["x = candidate(1)", "while x != 0: pass"], "def f(x): return 1", "the check took too long"),
        (["x = 0", "while x != 9: x = candidate(x)"], "def f(x): return x - 1", "makes too many calls"),
        (["assert list(candidate(1)) == [1]"], "def f(x): yield 1", "raised TypeError: '_NoData' object is not"),
        (["assert len(str(candidate(1))) < 9"], "def f(x): return 10 ** 9999", "the check raised ValueError"),
    ],
)
def test_answers_that_a_check_cannot_use(pool: Pool, lines: list[str], code: str, detail: str) -> None:
    grade = pool.grade(code, checked(*lines))
    assert (grade.status, outcomes(grade)) == ("graded", "E")
    assert detail in grade.tests[0].detail


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (["asert_equal(candidate(1), 1)"], "NameError: name 'asert_equal' is not defined (line 2)"),
        (["assert candidate(1) == 1, texxt"], "NameError"),
        (["x = [][0]", "assert candidate(x)"], "IndexError: list index out of range (line 2)"),
        (["import numpy.nowhere", "assert candidate(1)"], "ModuleNotFoundError"),
        (["assert candidate(1) == open('expected').read()"], "FileNotFoundError"),
        (["assert candidate(lambda: 1)"], "TypeError: a check can call the program with plain data only"),
        (["assert candidate('x' * 10**6)"], "TypeError: the arguments of a call are larger than"),
        (["assert True"], "it never calls the program"),
        (["assert 1 == 2, 'no matter what'", "candidate(1)"], "it never calls the program"),
        (["while True: pass"], "it took too long"),
        (["while True: candidate(1)"], "it makes too many calls"),
        (["import os", "os._exit(0)"], "it ended the interpreter"),
    ],
)
def test_a_broken_check_is_our_failure(pool: Pool, lines: list[str], reason: str) -> None:
    grade = pool.grade("def f(x): return 2", checked(*lines))
    assert (grade.status, grade.score) == ("grader_error", 0.0)
    assert reason in grade.message
    assert pool.grade("def f(x): return sorted(x)", SORTS).score == 1


def test_a_check_that_the_reference_solution_breaks_is_our_failure(pool: Pool) -> None:
    lines = ["assert candidate(1).upper() == 'A'"]
    wrong = pool.grade("def f(x): return 1", checked(*lines))
    assert outcomes(wrong) == "E"
    broken = pool.grade("def f(x): return 1", checked(*lines, solution="def f(x): return 1"))
    assert broken.status == "grader_error"
    assert broken.message.endswith("with the reference solution it ends in AttributeError: 'int' object has no "
                                   "attribute 'upper'")  # fmt: skip
    assert pool.grade("def f(x): return 'a'", checked(*lines, solution="def f(x): return 'a'")).score == 1


FORGERIES = [
    "def f(x): raise StopIteration",
    "class Yes:\n def __eq__(self, other): return True\n __hash__ = None\ndef f(x): return Yes()",
    "class Int(int):\n def __eq__(self, other): return True\n __hash__ = None\ndef f(x): return Int(0)",
    "import os\ndef f(x):\n for d in 3, 4:\n  try: os.write(d, b'V\\5\\0\\0\\0i\\1\\0\\0\\0')\n  except OSError: pass",
    "import builtins\nbuiltins.AssertionError = ValueError\ndef f(x): return 0",
    "import gc\ndef f(x): return [o for o in gc.get_objects() if 'secret' in str(o)][:1]",
    "import sys\ndef f(x):\n g = sys._getframe()\n while g: g.f_globals['check'] = print; g = g.f_back",
]


@pytest.mark.parametrize("code", FORGERIES)
def test_a_check_cannot_be_forged(pool: Pool, code: str) -> None:
    lines = ["secret = 98765", "assert all(map(lambda x: candidate(x) == secret, (1, 2, 3)))"]
    grade = pool.grade(code, checked(*lines))
    assert (grade.status, grade.score) == ("graded", 0.0)


def test_nothing_but_arguments_reaches_a_program() -> None:
    """Not even what the solution returns and the check would go on with."""
    given: list[Request] = []

    class Spy(Worker):
        def run(self, request: Request) -> Run:
            given.append(request)
            return super().run(request)

    solution = "def f(x): return 4177 if x == 1 else 7"
    problem = checked("x = candidate(1)", "assert candidate(x) == 7", "assert candidate(8) == 9", solution=solution)
    worker = Spy()
    code = "def f(x): return x + 1"
    grade = grade_with(worker, code, problem)
    worker.close()
    assert grade.tests[0].detail == "f(2) returned 3; failed: assert candidate(x) == 7"
    ours = [request for request in given if request.code == code]
    sent = [[marshal.loads(test) for test in request.tests] for request in ours]
    assert sent == [[((1,), {}), ((8,), {})], [((1,), {}), ((2,), {})]]
    assert not any("assert" in str(request) or solution in str(request) for request in ours)


def test_grades_are_the_same_every_time(pool: Pool) -> None:
    code = "import random\nclass A: pass\ndef f(x): return [A(), random.random(), list({'a', 'b'})]"
    grades = [pool.grade(code, SORTS) for _ in range(2)]
    with Pool(1) as other:
        grades.append(other.grade(code, SORTS))
    assert len({json.dumps(g.to_dict() | {"cpu_seconds": 0}) for g in grades}) == 1
    assert "0x..." in grades[0].tests[0].detail


def test_problems_and_grades_survive_json(tmp_path: Path) -> None:
    problem = checked("assert candidate(1)", solution="def f(x): return x")
    assert Problem.from_dict(json.loads(json.dumps(problem.to_dict()))) == problem
    assert "checks" not in problem.to_dict()
    with_two = Problem("p", entry="f", checker="def a(f): f()\ndef b(f): f()", checks=("a", "b"))
    assert Problem.from_dict(json.loads(json.dumps(with_two.to_dict()))) == with_two
    cache = GradeCache(tmp_path / "grades")
    with Pool(1, cache=cache) as pool:
        first = pool.grade("def f(x): return 0", problem)
        assert cache.get("def f(x): return 0", problem) == first
    assert Grade.from_dict(json.loads(json.dumps(first.to_dict()))) == first


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"entry": None}, "needs 'entry'"),
        ({"tests": (FunctionTest("()", "1"),)}, "takes the place of 'tests'"),
        ({"autograder": "def test_passed(): pass", "entry": None}, "takes the place"),
        ({"checks": ()}, "must name functions"),
        ({"checks": ("check", "check")}, "each once"),
        ({"checks": ("check", "chek")}, r"the checker defines no chek\(\)"),
        ({"checker": "def check(c)"}, "the checker does not compile"),
        ({"solution": "def f(x)"}, "the solution does not compile"),
        ({"prelude": "def f(x)"}, "the prelude does not compile"),
        ({"language": "logo"}, "no grader for language"),
    ],
)
def test_faulty_problems(pool: Pool, fields: dict[str, object], said: str) -> None:
    with pytest.raises(ProblemError, match=said):
        pool.grade("def f(x): return x", checked("assert candidate(1)", **fields))
    with pytest.raises(ProblemError, match="must be a list of names"):
        Problem.from_dict({"id": "p", "entry": "f", "checker": "", "checks": [1]})
