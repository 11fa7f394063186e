"""Graders for novice programs: safe to import anywhere (standard library only), usable without simstudent."""

from graders.cache import GradeCache
from graders.policy import Isolation, IsolationError
from graders.pool import Pool, grade, grade_async, grade_many, grade_many_async, isolation
from graders.problem import (
    VERSION,
    FunctionTest,
    Grade,
    Problem,
    ProblemError,
    ProgramTest,
    TestOutcome,
    exception,
    outcomes,
)

__all__ = [
    "VERSION",
    "FunctionTest",
    "Grade",
    "GradeCache",
    "Isolation",
    "IsolationError",
    "Pool",
    "Problem",
    "ProblemError",
    "ProgramTest",
    "TestOutcome",
    "exception",
    "grade",
    "grade_async",
    "grade_many",
    "grade_many_async",
    "isolation",
    "outcomes",
]
