"""Rewards of completions beside what the student did next: the paper's, its parts, and some against copying.

A reward is ``(code, example, grade) -> float | None`` over one completion: None where it cannot be scored, which TRL
leaves out; a failure of ours is never a number. Programs are graded once, whatever the number of rewards.
``tiered`` is the paper's (Koutcheme et al. 2026, section 4); graders/adapters/rewards.py tells its tiers.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from graders import Grade, Problem, outcomes
from graders.adapters import rewards as rules
from graders.adapters.rewards import Need, Row, Rule
from graders.compare import ast_equal, token_similarity
from simstudent.recipe_errors import closest


@dataclass(frozen=True, slots=True)
class Example:
    """What a completion is compared with: the student's next submission, its grade, and the one before (or None)."""

    problem: Problem
    next_code: str
    next_grade: Grade
    previous_code: str | None


Reward = Callable[[str | None, Example, Grade], "float | None"]
"""``code`` is None when the answer holds no program. ``grade`` is what the graders say of it, or ``grader_error``."""


def _shared(rule: Rule) -> Reward:
    """A reward that the graders' own adapters have too."""

    def worth(code: str | None, example: Example, grade: Grade) -> float | None:
        row = Row(code, example.problem, example.next_code, example.next_grade.score)
        settled = rule(row, False)
        return settled.decide([grade]) if isinstance(settled, Need) else settled

    return worth


def tests_match(code: str | None, example: Example, grade: Grade) -> float | None:
    """The share of tests with the outcome that the student's next submission has; 0 without a program."""
    if code is None:
        return 0.0
    if grade.status == "grader_error":
        return None
    ours, theirs = outcomes(grade), outcomes(example.next_grade)
    if len(ours) != len(theirs) or not theirs:  # one of them died before its tests
        return float(grade.status == example.next_grade.status and ours == theirs)
    return sum(a == b for a, b in zip(ours, theirs, strict=True)) / len(theirs)


def similarity(code: str | None, example: Example, grade: Grade) -> float | None:
    """How much closer the program is to the student's next one than the previous one was, by tokens, in [-1, 1].

    Copying the previous submission is worth 0, the student's own next program the whole distance, scaled to 1.
    """
    if code is None:
        return -1.0
    if example.previous_code is None:
        return token_similarity(code, example.next_code)
    copying = token_similarity(example.previous_code, example.next_code)
    if copying >= 1:
        return 0.0
    gain = (token_similarity(code, example.next_code) - copying) / (1 - copying)
    return max(-1.0, gain)


def change(code: str | None, example: Example, grade: Grade) -> float | None:
    """-1 for handing in the previous program again, up to layout and comments, when the student did not; else 0."""
    if code is None or example.previous_code is None:
        return 0.0
    repeats = ast_equal(code, example.previous_code) and not ast_equal(example.previous_code, example.next_code)
    return -1.0 if repeats else 0.0


REWARDS: Mapping[str, Reward] = {
    "tiered": _shared(rules.tiered),
    "grade": _shared(rules.grade_match),
    "ast": _shared(rules.ast_match),
    "compile": _shared(rules.compile_),
    "tests": tests_match,
    "similarity": similarity,
    "change": change,
}


def check_name(name: str) -> None:
    """Raises ValueError for a reward that neither is known nor reads as ``package.module:function``."""
    if ":" not in name and name not in REWARDS:
        raise ValueError(f"unknown reward '{name}'; {closest(name, REWARDS)}, or package.module:function")


def reward(name: str) -> Reward:
    """The reward of that name, or your own function. Raises ValueError when it cannot be imported."""
    if name in REWARDS:
        return REWARDS[name]
    module, _, attribute = name.partition(":")
    try:
        found: Callable[..., float | None] = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"reward '{name}' cannot be imported ({error})") from error
    return found
