"""The text a student sees after a grade. Deterministic: no times, no paths, no addresses."""

from __future__ import annotations

from typing import Literal

from graders.claims import shorten
from graders.problem import FunctionTest, Grade, Problem, ProgramTest, TestOutcome

Level = Literal["full", "summary", "none"]

_SHOWN = 8  # tests described; a language model reads this text, and its window is small
_LINE = 160  # characters
_INPUT = 40  # characters of a test's input

_HEADS = {
    "syntax_error": "The program does not compile.",
    "runtime_error": "The program stopped with an error before it could be tested.",
    "timeout": "The program took too long before it could be tested.",
    "memory": "The program used too much memory before it could be tested.",
    "no_code": "There is no code to grade.",
    "grader_error": "The program could not be graded; this is not its fault.",
}


def feedback(grade: Grade, problem: Problem, level: Level) -> str:
    """What to tell the student about ``grade``.

    ``full``: a line for each failed test, up to eight, and the summary, or what the problem's autograder script
    printed; ``summary``: the number of tests passed
    and the grade out of 100; ``none``: the empty string. Raises ValueError for any other level.
    """
    match level:
        case "none":
            return ""
        case "summary":
            return _summary(grade, problem)
        case "full" if grade.output:
            return grade.output.rstrip("\n")
        case "full":
            return "\n".join([*_lines(grade, problem), _summary(grade, problem)])
        case _:
            raise ValueError(f"unknown feedback level {level!r}: use 'full', 'summary' or 'none'")


def names_of_tests(problem: Problem) -> list[str]:
    """What each test tries, one short line each, as feedback calls it; none for an autograder's script."""
    tests: tuple[FunctionTest | ProgramTest | str, ...] = problem.tests if problem.checker is None else problem.checks
    return [shorten(_where(test, problem), _LINE) for test in tests]


def _summary(grade: Grade, problem: Problem) -> str:
    if grade.status == "grader_error":
        return _HEADS["grader_error"]
    passed, total = sum(t.status == "pass" for t in grade.tests), len(problem.tests or grade.tests)
    head = f"{passed} of {total} test{'s' * (total != 1)} passed."
    if grade.status != "graded":
        head = _HEADS[grade.status]
    return f"{head} Grade: {_percent(grade.score)}/100."


def _percent(score: float) -> int:
    """Rounded, but 100 only for all tests and 0 only for none."""
    return round(score * 100) if score in (0.0, 1.0) else min(99, max(1, round(score * 100)))


def _lines(grade: Grade, problem: Problem) -> list[str]:
    if grade.status != "graded":
        return [shorten(grade.message, _LINE)] if grade.status in ("syntax_error", "runtime_error") else []
    if grade.message:  # one thing is wrong with the whole program
        return [f"{grade.message[:1].upper()}{grade.message[1:]}."]
    tests: tuple[FunctionTest | ProgramTest | str, ...] = problem.tests if problem.checker is None else problem.checks
    failed = [(t, o) for t, o in zip(tests, grade.tests, strict=True) if o.status != "pass"]
    lines = [shorten(_line(test, outcome, problem), _LINE) for test, outcome in failed[:_SHOWN]]
    more = len(failed) - _SHOWN
    if more > 0:
        lines.append(f"... and {more} more")
    return lines


def _line(test: FunctionTest | ProgramTest | str, outcome: TestOutcome, problem: Problem) -> str:
    return f"{_where(test, problem)}: {outcome.detail or 'was not run'}"


def _where(test: FunctionTest | ProgramTest | str, problem: Problem) -> str:
    """``test``: the name of a check, where there is no other test."""
    if isinstance(test, str):
        return test
    if isinstance(test, FunctionTest):
        return f"{problem.entry}({shorten(_arguments(test.args), _INPUT)})"
    return f"Input {shorten(repr(test.stdin), _INPUT)}" if test.stdin else "Without input"


def _arguments(args: str) -> str:
    """``(1, 2)`` as ``1, 2`` and ``(1,)`` as ``1``; left as it is when it is spelled in some other way."""
    text = args.strip()
    return text[1:-1].strip().removesuffix(",") if text[:1] == "(" and text[-1:] == ")" else text
