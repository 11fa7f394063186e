"""Baselines that answer from the data: what a simulated student has to beat. docs/baselines.md says what each tells."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from simstudent.data.records import Trajectory
from simstudent.data.split import position
from simstudent.errors import SimstudentError
from simstudent.rollout.engines.nearest import Neighbours
from simstudent.rollout.simulate import Past, Reply, Start, Student

FROM_HISTORY = ("repeat-last", "nearest")
"""Baselines that have nothing to go by where no history is shown."""
DRAWN = ("random",)
"""Baselines whose samples of one start differ."""


async def repeat_last(start: Start, past: Past, k: int) -> Reply:
    """Hands in the previous submission again."""
    return Reply(past.last_code)


async def oracle(start: Start, past: Past, k: int) -> Reply:
    """Hands in what the student really did, and gives up where the student did: the upper bound of every measure."""
    rest = start.trajectory.submissions[start.t :]
    return Reply(rest[k - 1].code) if k <= len(rest) else Reply(None, gives_up=True)


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


def nearest(training: Sequence[Trajectory], seed: int) -> Student:
    """Hands in what another student did after the training program most similar to the last one."""
    neighbours = Neighbours(training, seed)

    async def respond(start: Start, past: Past, k: int) -> Reply:
        t = start.trajectory
        return Reply(neighbours.next_after(t.assignment, past.last_code, t.student, f"{t.key}/{start.t}"))

    return respond


def random_submission(training: Sequence[Trajectory], seed: int) -> Student:
    """Hands in any training submission of another student to the assignment (to any, where there is none)."""
    students = {t.student for t in training}
    pools: dict[str | None, list[tuple[str, str]]] = {None: []}
    for t in training:
        programs = [(t.student, s.code) for s in t.submissions]
        pools.setdefault(t.assignment, []).extend(programs)
        pools[None] += programs

    async def respond(start: Start, past: Past, k: int) -> Reply:
        mine = start.trajectory.student
        for name in (start.trajectory.assignment, None):
            held = pools.get(name, [])
            others = held if mine not in students else [item for item in held if item[0] != mine]
            if others:
                return Reply(others[int(len(others) * position(seed, "random", start.key, str(k)))][1])
        raise SimstudentError("method 'random' needs training students, and there are none; leave it out")

    return respond


def baseline(method: str, training: Sequence[Trajectory] = (), seed: int = 0) -> Student:
    """The baseline that a recipe's ``rollout.methods`` names. ``training``: the trajectories of the training side."""
    if method.startswith("constant-"):
        return constant(float(method.removeprefix("constant-")))
    plain: dict[str, Student] = {"repeat-last": repeat_last, "reference": reference, "oracle": oracle}
    learnt: dict[str, Callable[[Sequence[Trajectory], int], Student]] = {
        "nearest": nearest,
        "random": random_submission,
    }
    return plain[method] if method in plain else learnt[method](training, seed)
