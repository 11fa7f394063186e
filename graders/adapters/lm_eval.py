"""For lm-evaluation-harness: ``process_results`` of a generation task, and how to average what it gives.

In the task's YAML: ``process_results: !function graders_task.process_results`` and, for each metric (``score``,
``solved``, ``compiles``), ``aggregation: !function graders_task.mean_of_scored``, with both names imported into a file
``graders_task.py`` beside it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from graders.adapters.rewards import pool_here, problem_of
from graders.extract import extract_code
from graders.pool import Pool
from graders.problem import Problem, ProblemError

UNSCORED = float("nan")


def process_results(
    doc: Mapping[str, Any],
    results: Sequence[Any],
    *,
    pool: Pool | None = None,
    problems: Mapping[str, Problem] | None = None,
    key: str = "problem",
) -> dict[str, float]:
    """The metrics of one document: ``score`` in [0, 1], ``solved`` (1 when all tests passed), ``compiles``.

    ``results`` holds the answers, or a list of them for several samples, whose mean is taken. All are NaN for a
    ``grader_error``. The problem is ``doc[key]``, see `rewards.problem_of`. Raises ProblemError where there is none.
    """
    problem = problem_of(doc.get(key), problems or {})
    if problem is None:
        raise ProblemError(f"the document has no {key!r}")
    answers = [a for result in results for a in ([result] if isinstance(result, str) else result)]
    grades = list(pool_here(pool).grade_many((extract_code(answer), problem) for answer in answers))
    scored = [g for g in grades if g.status != "grader_error"]
    return {
        "score": mean_of_scored(g.score for g in scored),
        "solved": mean_of_scored(float(g.score == 1.0) for g in scored),
        "compiles": mean_of_scored(float(g.status not in ("syntax_error", "no_code")) for g in scored),
    }


def mean_of_scored(values: Iterable[float]) -> float:
    """The mean, NaN left out; NaN when nothing is left."""
    kept = [value for value in values if not math.isnan(value)]
    return math.fsum(kept) / len(kept) if kept else UNSCORED
