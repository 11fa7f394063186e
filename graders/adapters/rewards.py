"""What a model's answer is worth beside what the student did next: the rules that all adapters share.

A rule settles one row at once, or says which programs it needs graded first. Nothing that went wrong on our side is
ever a number: a row that cannot be scored is worth None.
"""

from __future__ import annotations

import functools
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from graders.compare import ast_equal, compiles
from graders.extract import extract_code
from graders.pool import Pool
from graders.problem import Grade, Problem, ProblemError

Item = tuple[str | None, Problem]

_SAME = 1e-6  # between two grades: more than a column of 32-bit floats loses, less than any test weighs


@dataclass(frozen=True, slots=True)
class Columns:
    """Which column holds what. ``problem``: a `Problem`, its dictionary or JSON text, or an id (see `problem_of`);
    ``next_code``: the program that the student handed in next; ``next_grade``: its score in [0, 1], which is found by
    grading ``next_code`` where it is None or there is no such column."""

    problem: str = "problem"
    next_code: str = "next_code"
    next_grade: str = "next_grade"


COLUMNS = Columns()


@dataclass(frozen=True, slots=True)
class Row:
    """One answer with what it is compared with; None where the data has nothing."""

    code: str | None
    problem: Problem | None
    next_code: str | None
    next_grade: float | None

    @property
    def blank(self) -> bool:
        return self.code is None or not self.code.strip()


@dataclass(frozen=True, slots=True)
class Need:
    """Programs to grade, and what their grades make of the row."""

    items: tuple[Item, ...]
    decide: Callable[[Sequence[Grade]], float | None]


Rule = Callable[[Row, bool], "float | Need | None"]
"""``rule(row, rename)``."""


def tiered(row: Row, rename: bool) -> float | Need | None:
    """+2 the student's next program (`ast_equal`), else +1 its grade, else -1 when it does not compile, else 0.

    -1 also for an answer without a code block, or with a blank one: that is no program, so it has no grade that
    could be the right one, and prose must not pay where the student's next grade is 0.
    (Koutcheme et al. 2026, the reward of DAPO.)
    """
    if row.next_code is None:
        return None
    if row.code is not None and _equal(row.code, row.next_code, row.problem, rename):
        return 2.0
    if row.blank:
        return -1.0

    def decide(ours: Grade, target: float) -> float:
        if abs(ours.score - target) < _SAME:
            return 1.0
        return -1.0 if ours.status == "syntax_error" else 0.0

    return _beside_next(row, decide)


def grade_match(row: Row, rename: bool) -> float | Need | None:
    """1 when the program's grade is the student's next grade, else 0; 0 without a program."""
    if row.blank and row.problem is not None and (row.next_grade is not None or row.next_code is not None):
        return 0.0
    return _beside_next(row, lambda ours, target: float(abs(ours.score - target) < _SAME))


def ast_match(row: Row, rename: bool) -> float | Need | None:
    """1 when the program is the student's next one up to layout and comments, else 0."""
    if row.next_code is None:
        return None
    return float(row.code is not None and _equal(row.code, row.next_code, row.problem, rename))


def compile_(row: Row, rename: bool) -> float | Need | None:
    """-1 when there is no program or it does not compile, else 0."""
    return 0.0 if row.code is not None and not row.blank and compiles(row.code) else -1.0


def score(row: Row, rename: bool) -> float | Need | None:
    """The program's own score in [0, 1]; 0 without a program."""
    if row.problem is None:
        return None
    return Need(((row.code, row.problem),), lambda grades: _score(grades[0]))


def _beside_next(row: Row, decide: Callable[[Grade, float], float]) -> Need | None:
    """The grade of the row's program beside the next one's, which is graded too unless it is known."""
    if row.problem is None or (row.next_grade is None and row.next_code is None):
        return None
    items: tuple[Item, ...] = ((row.code, row.problem),)
    if row.next_grade is None:
        items += ((row.next_code, row.problem),)

    def settle(grades: Sequence[Grade]) -> float | None:
        target = row.next_grade if row.next_grade is not None else _score(grades[1])
        return None if target is None or grades[0].status == "grader_error" else decide(grades[0], target)

    return Need(items, settle)


def _score(grade: Grade) -> float | None:
    return None if grade.status == "grader_error" else grade.score


def _equal(a: str, b: str, problem: Problem | None, rename: bool) -> bool:
    keep = () if problem is None or problem.entry is None else (problem.entry,)
    return ast_equal(a, b, rename=rename, keep=keep)


def answer_text(completion: object) -> str:
    """The text of a completion: it is plain text, or a list of messages, of which the last assistant's counts.

    The content of a message may be text or a list of parts. Raises TypeError for anything else.
    """
    if isinstance(completion, str):
        return completion
    if isinstance(completion, Sequence):
        for message in reversed(completion):
            role = message.get("role") if isinstance(message, Mapping) else getattr(message, "role", None)
            if role in ("assistant", None):
                content = message.get("content") if isinstance(message, Mapping) else getattr(message, "content", None)
                if isinstance(content, str) or content is None:
                    return content or ""
                return "".join(str(part.get("text") or "") for part in content if isinstance(part, Mapping))
        return ""
    raise TypeError(f"a completion is text or a list of messages, not {type(completion).__name__}")


def row_of(answer: str, fields: Mapping[str, object], columns: Columns, problems: Mapping[str, Problem]) -> Row:
    """The row of an answer. Raises ProblemError for a problem that cannot be graded, TypeError for a wrong column."""
    next_code, next_grade = fields.get(columns.next_code), fields.get(columns.next_grade)
    if not isinstance(next_code, str | None):
        raise TypeError(f"column {columns.next_code!r} must hold texts, not {next_code!r:.60}")
    if next_grade is not None:
        if isinstance(next_grade, str) or not hasattr(next_grade, "__float__"):
            raise TypeError(f"column {columns.next_grade!r} must hold numbers, not {next_grade!r:.60}")
        next_grade = float(next_grade)
        if math.isnan(next_grade):
            next_grade = None
        elif not 0 <= next_grade <= 1:
            raise ValueError(f"column {columns.next_grade!r} must hold scores in [0, 1], not {next_grade}")
    problem = problem_of(fields.get(columns.problem), problems)
    return Row(extract_code(answer), problem, next_code, next_grade)


def problem_of(value: object, problems: Mapping[str, Problem]) -> Problem | None:
    """The problem that a column's value stands for; None for None.

    A `Problem`, its dictionary (keys with None, which tables of records fill in, do not count), JSON text of that, or
    an id in ``problems``. Raises ProblemError for anything else.
    """
    if value is None or isinstance(value, Problem):
        return value
    if isinstance(value, str):
        return problems[value] if value in problems else _from_json(value)
    if isinstance(value, Mapping):
        return _from_json(json.dumps(value, sort_keys=True))
    raise ProblemError(f"not a problem: {value!r:.60}")


@functools.lru_cache(maxsize=4096)
def _from_json(text: str) -> Problem:
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError):
        raise ProblemError(f"neither the id of a known problem nor JSON: {text!r:.60}") from None
    if not isinstance(raw, dict):
        raise ProblemError(f"not a problem: {text!r:.60}")
    raw = {key: value for key, value in raw.items() if value is not None}
    tests = raw.get("tests")
    if isinstance(tests, list):
        raw["tests"] = [{k: v for k, v in t.items() if v is not None} if isinstance(t, dict) else t for t in tests]
    return Problem.from_dict(raw)


def pool_here(pool: Pool | None) -> Pool:
    """The pool given, or one that this process keeps for the purpose."""
    return pool if pool is not None else _pool_of(os.getpid())


@functools.lru_cache(maxsize=1)
def _pool_of(pid: int) -> Pool:
    return Pool()
