"""For inspect_ai: a scorer of programs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from graders.adapters.rewards import answer_text, pool_here, problem_of
from graders.extract import extract_code
from graders.feedback import feedback
from graders.pool import Pool
from graders.problem import Problem, outcomes

if TYPE_CHECKING:
    from inspect_ai.scorer import Score, Scorer, Target
    from inspect_ai.solver import TaskState


def grade_scorer(
    pool: Pool | None = None, *, problems: Mapping[str, Problem] | None = None, key: str = "problem"
) -> Scorer:
    """A scorer whose value is the program's score in [0, 1], with the metrics mean and stderr.

    The problem is ``state.metadata[key]`` (see `rewards.problem_of`), or else the sample's id is looked up in
    ``problems``. The explanation is the full feedback; the metadata has the status and the outcome of each test.
    An answer without a code block scores 0. A ``grader_error`` is `Score.unscored`, which metrics leave out. Raises
    ProblemError, which ends the sample with an error, where there is no problem. Raises ImportError without inspect_ai.
    """
    from inspect_ai.scorer import Score, mean, scorer, stderr

    known = problems or {}

    async def score(state: TaskState, target: Target) -> Score:
        problem = _problem(state, key, known)
        code = extract_code(answer_text(state.output.completion))
        grade = await pool_here(pool).grade_async(code, problem)
        details: dict[str, Any] = {"status": grade.status, "outcomes": outcomes(grade)}
        if grade.status == "grader_error":
            return Score.unscored(reason="scoring_failed", answer=code, explanation=grade.message, metadata=details)
        text = feedback(grade, problem, "full")
        return Score(value=grade.score, answer=code or "", explanation=text, metadata=details)

    @scorer(metrics=[mean(), stderr()], name="grade_scorer")  # type: ignore[untyped-decorator, unused-ignore]
    def made() -> Scorer:
        return score

    result: Scorer = made()
    return result


def _problem(state: TaskState, key: str, known: Mapping[str, Problem]) -> Problem:
    from graders.problem import ProblemError

    problem = problem_of((state.metadata or {}).get(key), known)
    if problem is None:
        problem = known.get(str(state.sample_id))
    if problem is None:
        raise ProblemError(f"sample {state.sample_id!r}: no {key!r} in its metadata, and no problem of that id")
    return problem
