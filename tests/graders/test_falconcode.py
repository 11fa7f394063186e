"""Programs graded by a course's own script: what the script sees, what comes out, and what it is kept from."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

import graders
from graders import Grade, GradeCache, Pool, Problem, ProblemError, outcomes, trusted
from graders.feedback import feedback

BENCH = Path(os.environ.get("GRADERS_BENCH", Path(__file__).parents[2].parent / "shared" / "bench"))
SCRIPT = """from cs110 import autograder
import random

def solution(number):
    return ["Double: " + str(number * 2), "Done"]

def test_passed():
    points = 0
    for number in (4, random.randint(10, 99)):
        print("Testing", number)
        output, error = autograder.run_script("double.py", [number])
        lines = output.strip().split("\\n")
        expected = solution(number)
        if autograder.compare_strings(lines, expected) == len(expected):
            points += 20
    return points

if __name__ == '__main__':
    result = test_passed()
    print("Unit Test Returned:", result)
"""
RIGHT = "n = int(input())\nprint('Double:', n * 2)\nprint('Done')\n"
FOUR = "n = int(input())\nprint('Double:', 8)\nprint('Done')\n"
CRASH = "n = int(input())\nprint('Double:', n * 2)\ndef end():\n    return 1 // 0\nend()\n"
LOOP = "n = int(input())\nwhile n != 4:\n    pass\nprint('Double:', n * 2)\nprint('Done')\n"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scripts get less time, so that those which never end cost less."""
    monkeypatch.setattr(trusted, "CPU_SECONDS", 0.4)


def double(**fields: object) -> Problem:
    return Problem(**{"id": "double", "autograder": SCRIPT, "max_points": 40, "cpu_seconds": 0.2} | fields)  # type: ignore[arg-type]


def scripted(body: str) -> Problem:
    """A problem whose script has this body of `test_passed`, indented by one space, and 100 points."""
    return double(autograder=f"import autograder\ndef test_passed():\n{body}\n", max_points=100)


@pytest.mark.parametrize(
    ("code", "score", "vector"),
    [
        (RIGHT, 1.0, "PP"),
        ("from cs110 import autograder\nimport autograder as a, cs110\n" + RIGHT, 1.0, "PP"),
        (FOUR, 0.5, "PW"),
        (CRASH, 0.0, "EE"),
        (LOOP, 0.5, "PT"),
        ("x = 'a' * 10 ** 12", 0.0, "MM"),
        ("import os\nos._exit(0)", 0.0, "EE"),
        ("pass", 0.0, "WW"),
    ],
)
def test_points_and_outcomes(pool: Pool, code: str, score: float, vector: str) -> None:
    grade = pool.grade(code, double())
    assert (grade.status, grade.score, outcomes(grade)) == ("graded", score, vector)


def test_the_text_is_the_scripts(pool: Pool) -> None:
    problem = double()
    text = feedback(pool.grade(CRASH, problem), problem, "full")
    assert text.splitlines()[:12] == [
        "Testing 4",
        "Error Occurred:",
        "Traceback (most recent call last):",
        '  File "double.py", line 5, in <module>',
        "    end()",
        '  File "double.py", line 4, in end',
        "    return 1 // 0",
        "ZeroDivisionError: integer division or modulo by zero",
        "",
        "",
        "Feedback:",
        "Line 1: CORRECT",
    ]
    assert text.splitlines()[12] == "1 out of 2 lines match"
    assert text.splitlines()[-1] == "Unit Test Returned: 0"
    assert feedback(pool.grade(FOUR, problem), problem, "summary") == "1 of 2 tests passed. Grade: 50/100."
    assert feedback(pool.grade(FOUR, problem), problem, "none") == ""


@pytest.mark.parametrize("code", [None, "  \n", "print('Double:' 8)"])
def test_no_program_to_run(pool: Pool, code: str | None) -> None:
    grade = pool.grade(code, double())
    assert grade.score == 0
    assert grade.status == ("syntax_error" if code and code.strip() else "no_code")
    assert outcomes(grade) == "--"


@pytest.mark.parametrize(
    "script",
    [
        SCRIPT.replace("'__main__'", '"__main__"'),
        SCRIPT.replace("from cs110 import autograder", "import autograder"),
        SCRIPT.replace("from cs110 import autograder", "import cs110.autograder as autograder"),
        SCRIPT.replace("autograder.", "").replace("from cs110 import autograder", "from autograder import *"),
        SCRIPT.replace("[number])", "[number], 3)"),
        SCRIPT.replace("[number])", "[number], timeout_in_seconds=3)"),
        SCRIPT.partition("if __name__")[0],
    ],
)
def test_scripts_of_every_form(pool: Pool, script: str) -> None:
    assert [pool.grade(code, double(autograder=script)).score for code in (RIGHT, FOUR)] == [1.0, 0.5]


def test_what_else_a_script_may_do(pool: Pool) -> None:
    body = """ import py_compile
 py_compile.compile("double.py", doraise=True)
 text = open("double.py", "r").read()
 out, err = autograder.run_script("double.py", [3], False)
 ok = autograder.equals(out, 6.004) and not autograder.equals("six", 6) and not autograder.code_compiles("other.py")
 return 33.5 * (text.count("input") + ok + autograder.code_compiles("double.py"))"""
    grade = pool.grade("print(int(input()) * 2)", scripted(body))
    assert (grade.status, grade.score, grade.output) == ("graded", 1.0, "Unit Test Returned: 100.5\n")


def test_runs_that_depend_on_earlier_ones(pool: Pool) -> None:
    body = """ number = 1
 for _ in range(4):
  number = int(autograder.run_script("double.py", [number])[0])
 return number"""
    grade = pool.grade("print(int(input()) * 3)", scripted(body))
    assert (grade.status, grade.score) == ("graded", 0.81)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (" return 1 // 0", "ZeroDivisionError: integer division or modulo by zero (line 3)"),
        (" import double", "ModuleNotFoundError: No module named 'double' (line 3)"),
        (" return None", "test_passed() returned 'None', which is no number of points"),
        (" while True: pass", "it took too long"),
        (" import os\n os._exit(0)", "it ended the interpreter"),
        (" import sys\n sys.exit(100)", "SystemExit: 100 (line 4)"),
        (
            " autograder.run_script('else.py')",
            "FileNotFoundError: [Errno 2] No such file or directory: 'else.py' (line 3)",
        ),
        (" while True: autograder.run_script('double.py', [input])", "it asks for more than 100 runs"),
        (
            " autograder.run_script('double.py', [3])\n return pionts",
            "NameError: name 'pionts' is not defined (line 4)",
        ),
        (" autograder.run_script('double.py', [3])\n open('data.txt')", "FileNotFoundError: "),
        (" autograder.run_script('double.py', [3])\n while True: pass", "it took too long"),
    ],
)
def test_a_broken_script_is_our_failure(pool: Pool, body: str, reason: str) -> None:
    grade = pool.grade(RIGHT, scripted(body))
    assert grade.message.startswith(f"the autograder script failed: {reason}")
    assert grade == Grade(0.0, "grader_error", (), grade.message)
    assert pool.grade(RIGHT, double()).score == 1


READS = """ lines = autograder.run_script("double.py", [4])[0].split()
 points = 10 * autograder.equals(lines[0], 1)
 for word in autograder.run_script("double.py", [5])[0].split():
  if word != "Double:":
   value = int(word)
 while value < 0: pass
 import sys
 if value > 1000: sys.exit(1)
 if value != 999: return points + value"""


@pytest.mark.parametrize(
    ("code", "reason", "vector"),
    [
        ("print('Double:', int(input()) * 2)", "", "WW"),
        ("pass", "IndexError: list index out of range (line 4)", "W-"),
        ("print('Double:')", "UnboundLocalError: ", "WW"),
        ("print(1, 'x')", "ValueError: invalid literal for int() with base 10: 'x' (line 7)", "PW"),
        ("print('Double: -1')", "it took too long", "WW"),
        ("print('Double: 5000')", "SystemExit: 1 (line 10)", "WW"),
        ("print('Double: 999')", "test_passed() returned 'None', which is no number of points", "WW"),
        ("print('Double:')\n1 // 0", "UnboundLocalError: ", "EE"),
    ],
)
def test_a_script_that_fails_on_an_output_gives_no_points(pool: Pool, code: str, reason: str, vector: str) -> None:
    """As the published grader does; such a script does work."""
    problem = scripted(READS)
    grade = pool.grade(code, problem)
    assert (grade.status, outcomes(grade)) == ("graded", vector)
    if not reason:
        assert (grade.score, grade.message) == (0.1, "")
        return
    assert grade.score == 0
    assert grade.message.startswith(f"the autograder script failed on this output: {reason}")
    said = feedback(grade, problem, "full")
    assert f"The autograder could not grade this output, which is worth no points: {reason}" in said
    assert feedback(grade, problem, "summary").endswith("Grade: 0/100.")


def test_a_script_without_its_function(pool: Pool) -> None:
    with pytest.raises(ProblemError, match=r"problem 'double': the autograder script defines no test_passed\(\)"):
        pool.grade(RIGHT, double(autograder="x = 1"))
    with pytest.raises(ProblemError, match="does not compile"):
        pool.grade(RIGHT, double(autograder="def test_passed()"))


@pytest.mark.parametrize(
    "code",
    [
        "print('Unit Test Returned: 40')",
        "import sys\nprint('Unit Test Returned: 40', file=sys.stderr)",
        "import sys, builtins\nbuiltins.test_passed = lambda: 40",
        "import sys\nsys.modules['autograder'].compare_strings = lambda *a: 2",
        "open('double.py', 'w').write('x')",
        "import os\nfor fd in range(9):\n  try: os.write(fd, b'Unit Test Returned: 40')\n  except OSError: pass",
        "import gc, sys\nprint([o for o in gc.get_objects() if 'Double' in str(o)][:1])",
    ],
)
def test_points_cannot_be_had_by_other_means(pool: Pool, code: str) -> None:
    grade = pool.grade(code, double())
    assert (grade.status, grade.score) == ("graded", 0.0)


def test_long_output_and_deep_recursion_are_cut(pool: Pool) -> None:
    problem = double()
    loud = pool.grade("while True: print('x' * 1000)", problem)
    assert loud.status == "graded"
    assert len(loud.output) < 21_000
    deep = pool.grade("def f(): return f()\nf()", problem)
    assert "more times]" in deep.output
    assert deep.output.count("File") == 8


def test_grades_are_the_same_every_time(pool: Pool) -> None:
    problem = double()
    code = "class A: pass\nprint(A())\nprint({'b', 'a', 'c'})\nraise ValueError(object())"
    grades = [pool.grade(code, problem) for _ in range(3)]
    with Pool(1) as other:
        grades.append(other.grade(code, problem))
    assert len({json.dumps(g.to_dict() | {"cpu_seconds": 0}) for g in grades}) == 1
    assert "/tmp" not in grades[0].output
    assert "0x..." in grades[0].output


def test_problems_and_grades_survive_json(tmp_path: Path) -> None:
    problem = double()
    assert Problem.from_dict(json.loads(json.dumps(problem.to_dict()))) == problem
    assert "autograder" not in Problem("p", (graders.ProgramTest("", ""),)).to_dict()
    with pytest.raises(ProblemError, match="takes the place"):
        double(entry="f")
    with pytest.raises(ProblemError, match="positive"):
        double(max_points=0)
    cache = GradeCache(tmp_path / "grades")
    with Pool(1, cache=cache) as pool:
        first = pool.grade(FOUR, problem)
        assert cache.get(FOUR, problem) == first == pool.grade(FOUR, problem)
        assert cache.get(FOUR, double(max_points=80)) is None
    assert Grade.from_dict(json.loads(json.dumps(first.to_dict()))) == first


@pytest.mark.skipif(not (BENCH / "expected_grades.json").exists(), reason="the 200 programs are not here")
def test_the_published_graders_grades(pool: Pool) -> None:
    data = json.loads((BENCH / "programs.json").read_text())
    expected = json.loads((BENCH / "expected_grades.json").read_text())
    problem = Problem(data["problem_id"], autograder=data["testcase"])
    grades = pool.grade_many((program["code"], problem) for program in data["programs"])
    ours = {program["name"]: 100 * grade.score for program, grade in zip(data["programs"], grades, strict=True)}
    assert ours == pytest.approx(expected)
    assert len(ours) == 200
