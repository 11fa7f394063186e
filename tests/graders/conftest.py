from __future__ import annotations

from collections.abc import Iterator

import pytest

from graders import FunctionTest, Pool, Problem, ProgramTest


@pytest.fixture(scope="session")
def pool() -> Iterator[Pool]:
    with Pool(1) as pool:
        yield pool


@pytest.fixture(scope="session")
def add() -> Problem:
    """Two tests of ``f(a, b)``, which should return the sum."""
    return Problem("add", (FunctionTest("(3, 4)", "7"), FunctionTest("(0, 1)", "1")), entry="f", cpu_seconds=0.2)


@pytest.fixture(scope="session")
def product() -> Problem:
    """A stdin/stdout program that should print the product of two numbers."""
    tests = (ProgramTest("3\n4\n", "12\n"), ProgramTest("3\n5\n", "15"))
    return Problem("product", tests, cpu_seconds=0.2)
