"""Reward functions for TRL's trainers (GRPO and its kind).

Called as ``reward(completions=..., **columns)`` with a list for each column of the data set; gives a list of floats,
None where a row cannot be scored, which TRL leaves out. Completions may be plain or conversational.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from graders.adapters import rewards
from graders.adapters.rewards import COLUMNS, Columns, Item, Need, Rule, answer_text, pool_here, row_of
from graders.pool import Pool
from graders.problem import Grade, Problem

Problems = Mapping[str, Problem]
Settled = list["float | Need | None"]


@dataclass(frozen=True)
class Reward:
    """A reward function. TRL logs it under ``__name__``. It can be pickled when it has no pool of its own: each
    process then keeps one, with a worker a core.

    Calls raise ProblemError for a problem that cannot be graded and TypeError or ValueError for a wrong column.
    """

    rule: Rule
    name: str
    pool: Pool | None = None
    problems: Problems = field(default_factory=dict)
    columns: Columns = COLUMNS
    rename: bool = False

    @property
    def __name__(self) -> str:
        return self.name

    def __call__(self, completions: Sequence[Any], **columns: Any) -> list[float | None]:
        settled = self.settle(completions, columns)
        items = _items(settled)
        grades = pool_here(self.pool).grade_many(items) if items else ()
        return _decided(settled, dict(zip(items, grades, strict=True)))

    def asynchronous(self) -> AsyncReward:
        """The same reward as a coroutine function; TRL runs those of a step side by side."""
        return AsyncReward(self)

    def settle(self, completions: Sequence[Any], columns: Mapping[str, Any]) -> Settled:
        """What each row is worth as far as that can be told without grading."""
        used: dict[str, Sequence[Any]] = {}
        for name in (self.columns.problem, self.columns.next_code, self.columns.next_grade):
            values = columns.get(name)
            if values is None:
                continue
            if isinstance(values, str) or len(values) != len(completions):
                raise ValueError(f"column {name!r} must be a list with a value for each of {len(completions)} answers")
            used[name] = values
        settled: Settled = []
        for number, completion in enumerate(completions):
            fields = {name: values[number] for name, values in used.items()}
            row = row_of(answer_text(completion), fields, self.columns, self.problems)
            settled.append(self.rule(row, self.rename))
        return settled


@dataclass(frozen=True)
class AsyncReward:
    """A `Reward` to be awaited."""

    reward: Reward

    @property
    def __name__(self) -> str:
        return self.reward.name

    async def __call__(self, completions: Sequence[Any], **columns: Any) -> list[float | None]:
        # In a thread: comparing trees takes milliseconds, which other coroutines should not wait for.
        settled = await asyncio.to_thread(self.reward.settle, completions, columns)
        items = _items(settled)
        pool = pool_here(self.reward.pool)
        grades = await asyncio.gather(*(pool.grade_async(*item) for item in items))
        return _decided(settled, dict(zip(items, grades, strict=True)))


def _items(settled: Settled) -> list[Item]:
    return list(dict.fromkeys(item for need in settled if isinstance(need, Need) for item in need.items))


def _decided(settled: Settled, grades: Mapping[Item, Grade]) -> list[float | None]:
    return [x.decide([grades[item] for item in x.items]) if isinstance(x, Need) else x for x in settled]


def tiered_reward(
    pool: Pool | None = None, *, problems: Problems | None = None, columns: Columns = COLUMNS, rename: bool = False
) -> Reward:
    """The paper's reward; `rewards.tiered` tells the tiers. Columns: problem and next_code; next_grade saves grading
    the student's program.

    None for a row without next_code, for one that needs grading and has no problem, and for a ``grader_error``.
    ``rename``: a program that differs from the student's in its own names only is equal as well (`graders.renaming`;
    the tested function keeps its name).
    """
    return Reward(rewards.tiered, "tiered_reward", pool, problems or {}, columns, rename)


def grade_match_reward(
    pool: Pool | None = None, *, problems: Problems | None = None, columns: Columns = COLUMNS
) -> Reward:
    """1 when the program's grade is the student's next grade, else 0. Columns: problem, and next_grade or next_code."""
    return Reward(rewards.grade_match, "grade_match_reward", pool, problems or {}, columns)


def ast_match_reward(*, problems: Problems | None = None, columns: Columns = COLUMNS, rename: bool = False) -> Reward:
    """1 when the program is the student's next one up to layout and comments, else 0. Column: next_code (and, with
    ``rename``, problem: its tested function keeps its name). Nothing is run."""
    return Reward(rewards.ast_match, "ast_match_reward", None, problems or {}, columns, rename)


def compile_reward() -> Reward:
    """-1 when there is no program or it does not compile, else 0. No columns. Nothing is run."""
    return Reward(rewards.compile_, "compile_reward")


def score_reward(pool: Pool | None = None, *, problems: Problems | None = None, columns: Columns = COLUMNS) -> Reward:
    """The program's own score in [0, 1]; 0 without a program. Column: problem."""
    return Reward(rewards.score, "score_reward", pool, problems or {}, columns)
