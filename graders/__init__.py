"""Graders for novice programs: safe to import anywhere (standard library only), usable without simstudent."""

from graders.problem import (
    FunctionTest,
    Grade,
    Problem,
    ProblemError,
    ProgramTest,
    TestOutcome,
    outcomes,
)

__all__ = [
    "FunctionTest",
    "Grade",
    "Problem",
    "ProblemError",
    "ProgramTest",
    "TestOutcome",
    "outcomes",
]
