"""A run's model with what is needed to score any of its data: rows as in training, losses by trajectory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from graders import Grade
from simstudent.data import regrade
from simstudent.data.load import Data
from simstudent.data.records import Assignment, Trajectory
from simstudent.dialogue.earlier import earlier_work, told
from simstudent.dialogue.encode import Encoder, Row, encode
from simstudent.dialogue.serialize import Earlier, dialogues
from simstudent.errors import SimstudentError
from simstudent.evaluation.conditions import Condition, conditions
from simstudent.evaluation.statistics import Array
from simstudent.training.scoring import TrainedModel, trained_tokens
from simstudent.training.students import with_students

Losses = Mapping[str, tuple[float, float]]
"""By a trajectory's key: the summed loss of its trained tokens, in nats, and their number."""


@dataclass(frozen=True, slots=True)
class Bench:
    """``resamples``: of the bootstrap over students. ``grades``: by key, of the trajectories asked for so far."""

    trained: TrainedModel
    data: Data
    resamples: int
    say: Callable[[str], None]
    grades: dict[str, tuple[Grade, ...]] = field(default_factory=dict)

    @property
    def seed(self) -> int:
        return self.trained.recipe.seed

    def rows(
        self,
        held: Sequence[Trajectory],
        encoder: Encoder | None = None,
        earlier: Mapping[str, tuple[Earlier, ...]] | None = None,
    ) -> tuple[Row, ...]:
        """Rows as in training, each with its own student in front (new students: nobody).

        ``earlier`` and ``encoder``: instead of the recipe's history, and of the run's encoder.
        """
        recipe = self.trained.recipe
        assignments = regrade.limited(self.data.assignments, recipe.grader)
        grades = self._graded(held, assignments)
        if earlier is None and recipe.dialogue.history.assignments:
            everything = [t for side in self.data.sides.values() for t in side]
            with regrade.open_pool(recipe.grader) as pool:
                earlier = earlier_work(held, everything, assignments, pool, recipe.dialogue)
        made = encode(
            encoder or self.trained.encoder, dialogues(held, assignments, grades, recipe.dialogue, earlier or {})
        )
        return with_students(made, self.trained.students.roster, {t.key: t.student for t in held}).rows

    def history(self, held: Sequence[Trajectory]) -> dict[str, Earlier]:
        """Trajectories by their key as they stand in the context of a later one."""
        recipe = self.trained.recipe
        assignments = regrade.limited(self.data.assignments, recipe.grader)
        grades = self._graded(held, assignments)
        return {t.key: told(t, assignments[t.assignment], grades[t.key], recipe.dialogue) for t in held}

    def _graded(
        self, held: Sequence[Trajectory], assignments: Mapping[str, Assignment]
    ) -> Mapping[str, tuple[Grade, ...]]:
        """The grades of trajectories by key (and of others): each is graded once, however often it is asked for."""
        if new := [t for t in held if t.key not in self.grades]:
            with regrade.open_pool(self.trained.recipe.grader) as pool:
                self.grades.update(regrade.regrade(new, assignments, pool))
        return self.grades

    def compare(self, losses: Mapping[str, Losses], students: Mapping[str, str], reference: str) -> Compared:
        """Conditions side by side on the trajectories of which all score the same tokens. ``students`` by key."""
        keys = [
            key
            for key, (_, tokens) in losses[reference].items()
            if all(key in own and own[key][1] == tokens for own in losses.values())
        ]
        if not keys:
            raise SimstudentError(
                f"no trajectory fits the window under all of: {', '.join(losses)}; give a larger window or less history"
            )
        tokens = np.array([losses[reference][key][1] for key in keys])
        owners = [students[key] for key in keys]
        found = conditions(
            {name: np.array([own[key][0] for key in keys]) for name, own in losses.items()},
            tokens,
            owners,
            reference=reference,
            resamples=self.resamples,
            seed=self.seed,
        )
        return Compared(
            len(set(owners)), len(keys), len(losses[reference]) - len(keys), int(tokens.sum()), reference, found
        )


@dataclass(frozen=True, slots=True)
class Compared:
    """``conditions`` over the same ``trajectories`` and ``tokens`` of so many students.

    ``unfit``: trajectories left out, since under some condition not all of their submissions fit the window.
    """

    students: int
    trajectories: int
    unfit: int
    tokens: int
    reference: str
    conditions: tuple[Condition, ...]

    def of(self, name: str) -> Condition:
        return next(c for c in self.conditions if c.name == name)


def by_trajectory(rows: Sequence[Row], losses: Array) -> Losses:
    """The losses of rows added up by trajectory."""
    found: dict[str, tuple[float, float]] = {}
    for row, loss, tokens in zip(rows, losses, trained_tokens(rows), strict=True):
        before = found.get(row.key, (0.0, 0.0))
        found[row.key] = before[0] + float(loss), before[1] + float(tokens)
    return found
