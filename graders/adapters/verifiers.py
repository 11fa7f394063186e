"""For verifiers: a reward function of a ``vf.Rubric`` (0.1), and a value for a ``@vf.reward`` method (0.4)."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from graders.adapters.trl import Reward


def rubric_function(reward: Reward) -> Callable[..., Coroutine[Any, Any, float]]:
    """A reward function for ``vf.Rubric(funcs=[...])`` of verifiers 0.1.

    The columns are looked for in the row's ``info`` (a dictionary or JSON text), then among its other fields.
    NaN where the row cannot be scored: a Rubric can neither take None nor an exception, which it turns into 0.
    Mask NaN before training; it also comes for a problem or column that is wrong, with the reason on ``state``
    under ``graders_error``.
    """

    async def graded(completion: Any, info: Any = None, state: Any = None, **fields: Any) -> float:
        try:
            value = await score_answer(reward, completion, fields | _info(info))
        except (ValueError, TypeError) as error:
            if isinstance(state, dict):
                state["graders_error"] = str(error)
            return float("nan")
        return float("nan") if value is None else value

    graded.__name__ = graded.__qualname__ = reward.name
    return graded


async def score_answer(reward: Reward, completion: Any, fields: Mapping[str, Any]) -> float | None:
    """What one answer is worth; None where it cannot be scored. In a ``@vf.reward`` method of verifiers 0.4 raise
    an error then: the trace keeps it, and its reward stays unset.

    Raises as `Reward` does when called.
    """
    columns = reward.columns
    names = (columns.problem, columns.next_code, columns.next_grade)
    rows = {name: [fields[name]] for name in names if fields.get(name) is not None}
    return (await reward.asynchronous()([completion], **rows))[0]


def _info(info: Any) -> dict[str, Any]:
    if isinstance(info, str):
        info = json.loads(info) if info.strip() else {}
    return dict(info) if isinstance(info, Mapping) else {}
