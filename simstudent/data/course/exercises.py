"""What the made-up course asks: one Exercise per assignment, and the small mark-up its solutions are written in.

The exercises are in ``weeks_1_2`` to ``weeks_7_8``. A solution is ordinary Python with two kinds of lines that
never reach a submission as they stand:

* a comment, kept only by students who write comments;
* ``#~ wrong line``: a hand-written misunderstanding of the line above it (several may follow each other; ``#~ -`` means
  that the line is forgotten).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from graders import FunctionTest, Problem, ProgramTest
from simstudent.data.records import Assignment

CPU_SECONDS = 0.1
"""The CPU time a test may take: the right answers take about a millisecond, and endless loops should end soon."""

Ideas = tuple[tuple[int, str | None], ...]
"""Misunderstandings: the index of a right line and what stands there instead (None: nothing)."""


@dataclass(frozen=True, slots=True)
class Solution:
    """One way to solve an exercise: its lines, and the written misunderstandings of some lines by index."""

    lines: tuple[str, ...]
    ideas: Ideas

    @property
    def code(self) -> str:
        return "\n".join(self.lines) + "\n"


@dataclass(frozen=True, slots=True)
class Exercise:
    """One assignment and the ways students go about it.

    ``week`` is the week of the course, ``level`` scales how hard students find it (1 is average). ``tests`` holds pairs
    of texts: arguments and result when there is an ``entry`` function, else standard input and output. The first of
    ``ways`` is the reference solution.
    """

    id: str
    week: int
    level: float
    statement: str
    tests: tuple[tuple[str, str], ...]
    ways: tuple[str, ...]
    entry: str | None = None

    def problem(self) -> Problem:
        """The problem the graders run."""
        tests: Any
        if self.entry is None:
            tests = tuple(ProgramTest(*pair) for pair in self.tests)
        else:
            tests = tuple(FunctionTest(*pair) for pair in self.tests)
        return Problem(
            self.id,
            tests,
            entry=self.entry,
            solution=self.solutions()[0].code,
            statement=self.statement,
            cpu_seconds=CPU_SECONDS,
        )

    def assignment(self) -> Assignment:
        return Assignment(self.id, self.statement, "python", self.problem())

    def solutions(self) -> tuple[Solution, ...]:
        """Every way to solve it, read out of the mark-up."""
        return tuple(read(way) for way in self.ways)


def read(marked_up: str) -> Solution:
    """The solution that a marked-up text describes."""
    lines: list[str] = []
    ideas: list[tuple[int, str | None]] = []
    for line in marked_up.strip("\n").split("\n"):
        wrong = line.strip().removeprefix("#~ ")
        if wrong == line.strip():
            lines.append(line)
            continue
        right = lines[-1]
        indent = right[: len(right) - len(right.lstrip())]
        ideas.append((len(lines) - 1, None if wrong == "-" else indent + wrong))
    return Solution(tuple(lines), tuple(ideas))
