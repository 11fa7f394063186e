"""Where recovery begins, a failing program in the middle of a trajectory; and the conditions of going on from there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from graders import Grade, Pool, Problem
from simstudent.data import regrade
from simstudent.data.load import Data
from simstudent.data.records import Assignment, Trajectory
from simstudent.data.split import position
from simstudent.dialogue.earlier import earlier_work
from simstudent.dialogue.serialize import Earlier
from simstudent.errors import SimstudentError
from simstudent.evaluation.behaviour_published import backtracking, to_the_end
from simstudent.recipe import Recipe
from simstudent.runs import weights_of
from simstudent.training.students import FIRST, NOBODY, Roster, has_students, load_roster

As = Literal["true", "strong", "nobody"]


@dataclass(frozen=True, slots=True)
class Failing:
    """A place to recover from: the first ``t`` submissions of a trajectory, the last of which fails.

    ``problem`` judges programs, also where the assignment, as the model knows it, has no tests. ``earlier``: the
    student's work on earlier assignments, where the recipe shows it.
    """

    trajectory: Trajectory
    assignment: Assignment
    problem: Problem
    grades: tuple[Grade, ...]
    t: int
    sample: int = 0
    earlier: tuple[Earlier, ...] = ()

    @property
    def key(self) -> str:
        """``student/assignment/t/sample``."""
        return f"{self.trajectory.key}/{self.t}/{self.sample}"

    def to_dict(self) -> dict[str, Any]:
        """What the figures need of it: the failing program, what the student did next, and the reference solution."""
        rest = self.trajectory.submissions[self.t :]
        return {
            "key": self.key,
            "student": self.trajectory.student,
            "failing": self.trajectory.submissions[self.t - 1].code,
            "programs": [s.code for s in rest],
            "grades": [g.score for g in self.grades[self.t :]],
            "reference": self.problem.solution,
        }


@dataclass(frozen=True, slots=True)
class Condition:
    """As whom the model goes on (None: it knows no students), and after how many seconds (None: it sees no times)."""

    who: As | None
    after: float | None

    @property
    def name(self) -> str:
        return (self.who or "model") + ("" if self.after is None else f"@{self.after:g}s")

    def token(self, roster: Roster, strong: str) -> Callable[[str], int]:
        """By student, the token that stands before its prompts."""
        if self.who == "nobody":
            return lambda student: FIRST + NOBODY
        return roster.token if self.who == "true" else lambda student: roster.token(strong)


@dataclass(frozen=True, slots=True)
class People:
    """The students with vectors, and the strong one among them."""

    roster: Roster
    strong: str


def people_of(run: Path, data: Data) -> People | None:
    """Whom a run's model knows; None where it was trained without students' vectors."""
    weights = weights_of(run)
    if not has_students(weights):
        return None
    roster = load_roster(weights)
    return People(roster, strongest(data.sides["train"], roster))


def conditions(recipe: Recipe, vectors: bool, after: Sequence[float]) -> list[Condition]:
    """The conditions that mean something to the model: with vectors who, with times how much later."""
    timed = recipe.dialogue.format == "trace" or recipe.dialogue.time_header != "none"
    people: tuple[As | None, ...] = ("true", "strong", "nobody") if vectors else (None,)
    return [Condition(who, seconds) for who in people for seconds in (after if timed else (None,))]


def strongest(training: Sequence[Trajectory], roster: Roster) -> str:
    """Of the tenth with the most training trajectories the student who goes back least (section 6 of the paper)."""
    own: dict[str, list[Trajectory]] = {name: [] for name in roster.names}
    for t in training:
        if t.student in own and len(t.submissions) > 1:
            own[t.student].append(t)
    busiest = sorted(own, key=lambda name: (-len(own[name]), name))[: max(1, len(own) // 10)]

    def goes_back(name: str) -> float:
        ways = [backtracking(to_the_end([s.code for s in t.submissions])) for t in own[name]]
        return sum(ways) / len(ways) if ways else 1.0

    return min(busiest, key=goes_back)


def failing_starts(
    recipe: Recipe, data: Data, pool: Pool, roster: Roster | None, say: Callable[[str], None]
) -> list[Failing]:
    """One failing submission of each trajectory, not the last, drawn by a seeded hash, times ``rollout.samples``.

    Trajectories that were cut before their end or that nothing can judge are left out, and with vectors those of
    students without one; how many is said. Raises SimstudentError when that leaves none.
    """
    r = recipe.rollout
    everybody = [t for t in data.held(r.split) if len(t.submissions) > 1]
    whole = [t for t in everybody if "censored" not in t.submissions[-1].more]
    known = [t for t in whole if roster is None or t.student in roster.numbers]
    assignments = regrade.limited(data.assignments, recipe.grader)
    judged = {t.assignment: judge for t in known if (judge := gradable(assignments[t.assignment])) is not None}
    held = [t for t in known if t.assignment in judged]
    told = (
        f"{len(everybody) - len(whole)} were cut before their end, {len(whole) - len(known)} of students without a "
        f"vector, {len(known) - len(held)} at assignments without tests"
    )
    if not held:
        raise SimstudentError(f"no {r.split} trajectory to recover in: {told}. Name another side or cell (--split)")
    if len(held) < len(everybody):
        say(f"Left out: {told}")
    problems = {name: a.problem for name, a in judged.items() if a.problem is not None}
    grades = regrade.regrade(held, judged, pool)
    everything = [t for side in data.sides.values() for t in side]
    earlier = earlier_work(held, everything, assignments, pool, recipe.dialogue)
    found = []
    for t in held:
        fails = [n for n in range(1, len(t.submissions)) if grades[t.key][n - 1].score < 1]
        if fails:
            at = fails[int(position(recipe.seed, "recover", t.key) * len(fails))]
            found.append(
                Failing(
                    t,
                    assignments[t.assignment],
                    problems[t.assignment],
                    grades[t.key],
                    at,
                    earlier=earlier.get(t.key, ()),
                )
            )
    if r.limit is not None:
        found = sorted(found, key=lambda f: position(recipe.seed, "recover limit", f.key))[: r.limit]
    return [replace(f, sample=n) for f in found for n in range(r.samples)]


def gradable(assignment: Assignment) -> Assignment | None:
    """The assignment with something to judge by: its tests or, of a Pencil Code program, whether it runs. Else None."""
    if assignment.problem is not None:
        return assignment
    if assignment.language not in ("coffeescript", "javascript"):
        return None
    return replace(assignment, problem=Problem(assignment.id, language="pencilcode"))
