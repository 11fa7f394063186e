"""Every status a program can get, through a real worker."""

from __future__ import annotations

import dataclasses

import pytest

from graders import FunctionTest, Grade, Pool, Problem, ProblemError, ProgramTest, outcomes

STATUSES = {
    "def f(a, b): return a + b": ("graded", "PP", 1.0),
    "def f(a, b): return max(a, 7)": ("graded", "PW", 0.5),
    "def f(a, b): return a + b if a else 1 // a": ("graded", "PE", 0.5),
    "def f(a, b):\n while a: pass\n return 1": ("graded", "TP", 0.5),
    "def f(a, b): return 1 if b == 1 else [0] * 10**10": ("graded", "MP", 0.5),
    "def f(a, b):\n import os\n if a: os._exit(0)\n return 1": ("graded", "EP", 0.5),
    "def f(a, b):\n import os\n if a: os.abort()\n return 1": ("graded", "EP", 0.5),
    "def f(a, b):\n if a: exit()\n return 1": ("graded", "EP", 0.5),
    "def f(a, b):\n try: return f(a, b)\n except RecursionError: return 1": ("graded", "WP", 0.5),
    "def f(a, b): return f(a, b)": ("graded", "EE", 0.0),
    "def f(a, b): raise KeyboardInterrupt": ("graded", "EE", 0.0),
    "def f(a): return a": ("graded", "EE", 0.0),
    "def f(a, b): print(a + b)": ("graded", "WW", 0.0),
    "def f(a, b): return input()": ("graded", "EE", 0.0),
    "f = 3": ("graded", "EE", 0.0),
    "x = 1": ("graded", "EE", 0.0),
    "def f(a, b)": ("syntax_error", "--", 0.0),
    "\0": ("syntax_error", "--", 0.0),
    "x = '\ud800'": ("syntax_error", "--", 0.0),
    "(" * 5000: ("syntax_error", "--", 0.0),
    "1 / 0": ("runtime_error", "--", 0.0),
    "exit()": ("runtime_error", "--", 0.0),
    "import os; os._exit(0)": ("runtime_error", "--", 0.0),
    "while True: pass": ("timeout", "--", 0.0),
    "while True: print(1)": ("timeout", "--", 0.0),
    "x = [0] * 10**10": ("memory", "--", 0.0),
    " \n": ("no_code", "--", 0.0),
    "\ufeffdef f(a, b): return a + b": ("graded", "PP", 1.0),
}


@pytest.mark.parametrize("code", STATUSES, ids=range(len(STATUSES)))
def test_status(pool: Pool, add: Problem, code: str) -> None:
    grade = pool.grade(code, add)
    assert (grade.status, outcomes(grade), grade.score) == STATUSES[code]
    assert grade.cpu_seconds < 2


def test_no_code(pool: Pool, add: Problem) -> None:
    assert pool.grade(None, add).status == "no_code"


@pytest.mark.parametrize(
    ("code", "error", "detail"),
    [
        ("x = 1", "MissingFunction", "there is no function named f"),
        ("def f(a, b): return 1 // 0", "ZeroDivisionError", "division"),
        ("\ndef f(a, b):\n    raise KeyError('k')", "KeyError", "raised KeyError: 'k' (line 3)"),
        ("class Own(Exception): pass\ndef f(a, b): raise Own", "Own", "raised Own (line 2)"),
        ("def f(a, b): import sys; sys.exit(2)", "SystemExit", "raised SystemExit: 2 (line 1)"),
        ("def f(a, b): import os; os.abort()", "Crash", "SIGABRT"),
        ("def f(a, b): return object()", None, "returned <object object at 0x...>, expected 7"),
        ("def f(a, b): return [a] * 10**6", None, "returned a very large value, expected 7"),
        ("def f(a, b): return 10**5000", None, "returned a very large integer, expected 7"),
    ],
)
def test_outcome(pool: Pool, add: Problem, code: str, error: str | None, detail: str) -> None:
    outcome = pool.grade(code, add).tests[0]
    assert outcome.error == error
    assert detail in outcome.detail


def test_message_of_a_syntax_error(pool: Pool, add: Problem) -> None:
    assert pool.grade("x = 1\ndef f(a, b)\n", add).message == "SyntaxError: expected ':' (line 2)"
    assert pool.grade("def f(a, b):\nreturn 1", add).message.startswith("IndentationError: expected an indented")


def test_message_of_a_runtime_error(pool: Pool, add: Problem) -> None:
    assert pool.grade("x = 1\ny = z", add).message == "NameError: name 'z' is not defined (line 2)"


PROGRAMS = {
    "print(int(input()) * int(input()))": "PP",
    "print(int(input()) + int(input()))": "WW",
    "print(12)\nprint()": "PW",
    "print('12   \\n\\n')": "PW",
    "print(' 12')": "WW",
    "x = int(input()) * int(input()); print(x); exit()": "PP",
    "import sys\nprint(int(sys.stdin.readline()) * int(sys.stdin.read()))": "PP",
    "import sys\na, b = map(int, sys.stdin)\nsys.stdout.buffer.write(b'%d' % (a * b))": "PP",
    "if __name__ == '__main__': print(12)": "PW",
    "print(12); import sys; print('noise', file=sys.stderr)": "PW",
    "print(12); 1 / 0": "EE",
    "input(); input(); input()": "EE",
    "input()\nif input() == '4':\n while 1: pass\nprint(15)": "TP",
    "import builtins\nprint(12 if not hasattr(builtins, 'x') else 0)\nx = 1": "PW",
    "while True: print('x' * 1000)": "TT",
}


@pytest.mark.parametrize("code", PROGRAMS, ids=range(len(PROGRAMS)))
def test_program(pool: Pool, product: Problem, code: str) -> None:
    grade = pool.grade(code, product)
    assert (grade.status, outcomes(grade)) == ("graded", PROGRAMS[code])


def test_every_test_runs_the_program_afresh(pool: Pool) -> None:
    problem = Problem("fresh", (ProgramTest("", "1"),) * 3, prelude="count = 0")
    assert pool.grade("count += 1\nprint(count)", problem).score == 1


def test_arguments_are_fresh_for_every_test(pool: Pool) -> None:
    problem = Problem("fresh", (FunctionTest("([1, 2],)", "2"),) * 3, entry="f")
    assert pool.grade("def f(x):\n n = len(x)\n x.clear()\n return n", problem).score == 1


def test_too_much_output_is_never_right(pool: Pool) -> None:
    problem = Problem("flood", (ProgramTest("", "x"),))
    assert outcomes(pool.grade("print('x' + ' ' * 10**6)", problem)) == "W"


def test_prelude_is_seen_and_may_be_overridden(pool: Pool) -> None:
    problem = Problem("p", (FunctionTest("()", "3"),), entry="f", prelude="import math\ndef three(): return 3")
    assert pool.grade("def f(): return three()", problem).score == 1
    assert pool.grade("def f(): return math.floor(3.5)", problem).score == 1
    assert pool.grade("def three(): return 4\ndef f(): return three()", problem).score == 0


@pytest.mark.parametrize("prelude", ["1 / 0", "def", "import os; os._exit(0)"])
def test_a_broken_prelude_is_our_failure(pool: Pool, prelude: str) -> None:
    grade = pool.grade("def f(): return 3", Problem("p", (FunctionTest("()", "3"),), entry="f", prelude=prelude))
    assert grade.status == "grader_error"
    assert "prelude" in grade.message


def test_a_program_cannot_blame_us(pool: Pool, add: Problem) -> None:
    erase = "import os\nos.lseek(3, 0, 0); os.ftruncate(3, 0); os.write(3, b'P\\0\\0\\0\\0'); os._exit(1)"
    assert pool.grade(erase, add).status == "runtime_error"


def test_what_a_program_returns_is_all_it_can_claim(pool: Pool, add: Problem) -> None:
    liar = "class Yes:\n def __eq__(self, other): return True\n def __hash__(self): return 7\ndef f(a, b): return Yes()"
    assert outcomes(pool.grade(liar, add)) == "WW"
    liar = "class Int(int):\n def __eq__(self, other): return True\n __hash__ = None\ndef f(a, b): return Int(2)"
    assert outcomes(pool.grade(liar, add)) == "WW"


def test_sleeping_costs_nothing_and_waiting_for_ever_costs_one_test(pool: Pool, add: Problem) -> None:
    assert pool.grade("import time\ndef f(a, b):\n time.sleep(1000)\n return a + b", add).score == 1


@pytest.mark.slow
def test_waiting_for_ever(pool: Pool, add: Problem) -> None:
    problem = dataclasses.replace(add, tests=(*add.tests, add.tests[0]))
    grade = pool.grade("import signal\ndef f(a, b):\n if a: signal.pause()\n return 1", problem)
    assert outcomes(grade) == "T--"


def test_stopping_at_the_first_timeout(pool: Pool, add: Problem) -> None:
    endless = "def f(a, b):\n while a: pass\n return 1"
    assert outcomes(pool.grade(endless, dataclasses.replace(add, stop_at_timeout=True))) == "T-"
    assert (
        outcomes(
            pool.grade("def f(a, b): return 1 if b == 1 else 1 / 0", dataclasses.replace(add, stop_at_timeout=True))
        )
        == "EP"
    )


def test_a_program_that_stops_its_timer_is_stopped_all_the_same(pool: Pool, add: Problem) -> None:
    cheat = "import signal\nsignal.signal(signal.SIGPROF, signal.SIG_IGN)\ndef f(a, b):\n while a: pass\n return 1"
    grade = pool.grade(cheat, add)
    assert outcomes(grade) == "TP"
    assert grade.cpu_seconds < 3


def test_randomness_and_order_are_the_same_for_everybody(add: Problem) -> None:
    code = "import random\ndef f(a, b): return [random.random(), hash('x'), list({'a', 'b', 'c', 'd'})]"
    grades: set[Grade] = set()
    for _ in range(2):
        with Pool(1) as pool:
            grades |= {pool.grade(code, add), pool.grade(code, add)}
    assert len(grades) == 1


def test_problems_that_cannot_be_graded(pool: Pool) -> None:
    test = FunctionTest("(1,)", "1")
    with pytest.raises(ProblemError, match="language 'logo'"):
        pool.grade("x", Problem("p", (test,), entry="f", language="logo"))
    with pytest.raises(ProblemError, match="test 1: 'expected' is not a Python literal"):
        Problem("p", (FunctionTest("(1,)", "object()"),), entry="f")


def test_names_need_not_be_ascii(pool: Pool) -> None:
    """The compiler imports a module of its own for them, which a locked-in worker must have."""
    problem = Problem("f", (FunctionTest("(2,)", "4"),), entry="f")
    assert pool.grade("def f(âge):\n    résultat = 2 * âge\n    return résultat\n", problem).score == 1.0
    wrong = pool.grade("def f(x):\n    return vecé\n", problem)
    assert (wrong.status, wrong.tests[0].error) == ("graded", "NameError")
