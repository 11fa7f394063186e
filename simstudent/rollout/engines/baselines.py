"""Baselines that answer from the data: what any simulated student has to beat."""

from __future__ import annotations

from simstudent.errors import SimstudentError
from simstudent.rollout.simulate import Past, Reply, Start, Student


async def repeat_last(start: Start, past: Past, k: int) -> Reply:
    """Hands in the previous submission again."""
    return Reply(past.last_code)


async def reference(start: Start, past: Past, k: int) -> Reply:
    """Hands in the reference solution at once."""
    problem = start.assignment.problem
    if problem is None or problem.solution is None:
        raise SimstudentError(
            f"assignment {start.assignment.id} has no reference solution; leave 'reference' out of rollout.methods"
        )
    return Reply(problem.solution)


def constant(grade: float) -> Student:
    """Asserts the same grade every time, without a program."""

    async def respond(start: Start, past: Past, k: int) -> Reply:
        return Reply(None, grade=grade)

    return respond


def baseline(method: str) -> Student:
    """The baseline that a recipe's ``rollout.methods`` names: repeat-last, reference, constant-<grade>."""
    if method.startswith("constant-"):
        return constant(float(method.removeprefix("constant-")))
    return {"repeat-last": repeat_last, "reference": reference}[method]
